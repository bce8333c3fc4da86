/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/pcapng.h"

#include <string.h>

enum {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_INTERFACE = 1,
	BLOCK_STATISTICS = 5,
	BLOCK_PACKET = 6,
	BYTE_ORDER_MAGIC = 0x1a2b3c4d,
	LINK_ETHERNET = 1,
	OPTION_END = 0,
	OPTION_COMMENT = 1,
	SECTION_PROGRAM = 4,
	INTERFACE_NAME = 2,
	INTERFACE_TIME_UNIT = 9, /* minus the power of ten of a second */
	PACKET_FLAGS = 2,
	STATISTICS_BEGIN = 2,
	STATISTICS_END = 3,
	STATISTICS_RECEIVED = 4,
	STATISTICS_DROPPED = 5,
};

/* Where the next bytes go. @has_room: all that came before had room. */
struct writer {
	uint8_t *begin;
	size_t length;
	size_t room;
	bool has_room;
};

static void put(struct writer *writer, const void *bytes, size_t n)
{
	static const uint8_t padding[4];
	size_t n_padding = -n & 3;

	writer->has_room = writer->has_room && writer->room - writer->length >= n + n_padding;
	if (!writer->has_room)
		return;
	if (n != 0)
		memcpy(writer->begin + writer->length, bytes, n);
	memcpy(writer->begin + writer->length + n, padding, n_padding);
	writer->length += n + n_padding;
}

static void put_number(struct writer *writer, uint32_t number)
{
	put(writer, &number, sizeof(number));
}

static void put_option(struct writer *writer, uint16_t code, const void *value, uint16_t length)
{
	const uint16_t head[2] = {code, length};

	put(writer, head, sizeof(head));
	put(writer, value, length);
}

static void put_text(struct writer *writer, uint16_t code, const char *text)
{
	put_option(writer, code, text, (uint16_t)strnlen(text, PCAPNG_MAX_TEXT));
}

/* A time: its high half first, whatever the byte order. */
static void put_time(struct writer *writer, uint16_t code, uint64_t time_ns)
{
	const uint32_t halves[2] = {(uint32_t)(time_ns >> 32), (uint32_t)time_ns};

	put_option(writer, code, halves, sizeof(halves));
}

static struct writer begin(uint8_t *at, size_t room, uint32_t type)
{
	struct writer writer = {.begin = at, .room = room, .has_room = true};

	put_number(&writer, type);
	put_number(&writer, 0); /* the length: see end() */
	return writer;
}

/* The length stands at both ends of a block, so that it can be read backwards. */
static size_t end(struct writer *writer)
{
	uint32_t length = (uint32_t)writer->length + 4;

	put_number(writer, length);
	if (!writer->has_room)
		return 0;
	memcpy(writer->begin + 4, &length, sizeof(length));
	return length;
}

size_t pcapng_section(uint8_t *at, size_t room, const char *program)
{
	static const uint16_t version[2] = {1, 0};
	static const uint64_t unknown_length = UINT64_MAX;
	struct writer writer = begin(at, room, BLOCK_SECTION);

	put_number(&writer, BYTE_ORDER_MAGIC);
	put(&writer, version, sizeof(version));
	put(&writer, &unknown_length, sizeof(unknown_length));
	put_text(&writer, SECTION_PROGRAM, program);
	put_option(&writer, OPTION_END, NULL, 0);
	return end(&writer);
}

size_t pcapng_interface(uint8_t *at, size_t room, const char *name, uint32_t snaplen)
{
	static const uint16_t link[2] = {LINK_ETHERNET, 0};
	static const uint8_t nanoseconds = 9;
	struct writer writer = begin(at, room, BLOCK_INTERFACE);

	put(&writer, link, sizeof(link));
	put_number(&writer, snaplen);
	put_text(&writer, INTERFACE_NAME, name);
	put_option(&writer, INTERFACE_TIME_UNIT, &nanoseconds, sizeof(nanoseconds));
	put_option(&writer, OPTION_END, NULL, 0);
	return end(&writer);
}

size_t pcapng_packet(uint8_t *at, size_t room, const struct pcapng_packet *packet)
{
	struct writer writer = begin(at, room, BLOCK_PACKET);
	const uint32_t flags = (uint32_t)packet->direction;

	put_number(&writer, packet->interface);
	put_number(&writer, (uint32_t)(packet->time_ns >> 32));
	put_number(&writer, (uint32_t)packet->time_ns);
	put_number(&writer, packet->n_bytes);
	put_number(&writer, packet->length);
	put(&writer, packet->bytes, packet->n_bytes);
	put_text(&writer, OPTION_COMMENT, packet->comment);
	put_option(&writer, PACKET_FLAGS, &flags, sizeof(flags));
	put_option(&writer, OPTION_END, NULL, 0);
	return end(&writer);
}

size_t pcapng_statistics(uint8_t *at, size_t room, const struct pcapng_statistics *statistics)
{
	struct writer writer = begin(at, room, BLOCK_STATISTICS);

	put_number(&writer, statistics->interface);
	put_number(&writer, (uint32_t)(statistics->end_ns >> 32));
	put_number(&writer, (uint32_t)statistics->end_ns);
	put_time(&writer, STATISTICS_BEGIN, statistics->begin_ns);
	put_time(&writer, STATISTICS_END, statistics->end_ns);
	put_option(&writer, STATISTICS_RECEIVED, &statistics->n_received,
		   sizeof(statistics->n_received));
	put_option(&writer, STATISTICS_DROPPED, &statistics->n_dropped,
		   sizeof(statistics->n_dropped));
	put_option(&writer, OPTION_END, NULL, 0);
	return end(&writer);
}
