/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The layout of the protocol against its golden file, and the list behind it against wire.h.
 * To accept a change of layout: raise WIRE_VERSION if releases differ, then run this program with
 * SLUICE_WRITE_GOLDEN=1 in the environment.
 */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire_abi.h"

#ifndef SLUICE_SOURCE_DIR
#define SLUICE_SOURCE_DIR "."
#endif

static char *read_text(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = calloc(1, 65536);
	size_t n;

	cr_assert(file != NULL && text != NULL, "%s: cannot be read", path);
	n = fread(text, 1, 65535, file);
	cr_assert_lt(n, 65535, "%s: too long for this test", path);
	(void)fclose(file);
	return text;
}

Test(wire_golden, the_layout_is_the_golden_files)
{
	const char *path = SLUICE_SOURCE_DIR "/tests/protocol/wire_golden.txt";
	char *golden;

	if (getenv("SLUICE_WRITE_GOLDEN") != NULL) {
		FILE *file = fopen(path, "we");

		cr_assert_not_null(file);
		(void)fputs(wire_abi_text(), file);
		cr_assert_eq(fclose(file), 0);
	}
	golden = read_text(path);
	cr_assert(strcmp(golden, wire_abi_text()) == 0,
		  "%s differs from wire.h: see the head of wire_golden_test.c", path);
	free(golden);
}

Test(wire_golden, the_hash_is_the_texts_digest_and_every_byte_counts)
{
	cr_expect_eq(wire_abi_hash(), wire_digest(wire_abi_text(), strlen(wire_abi_text())));
	cr_expect_neq(wire_digest("\0", 1), wire_digest("", 0));
	cr_expect_neq(wire_digest("\0\0", 2), wire_digest("\0", 1));
	cr_expect_neq(wire_digest("12345678", 8), wire_digest("12345679", 8));
	cr_expect_neq(wire_digest("123456789", 9), wire_digest("123456780", 9));
}

static void blank_comments(char *text)
{
	for (char *from = strstr(text, "/*"); from != NULL; from = strstr(from, "/*")) {
		char *end = strstr(from, "*/");

		cr_assert_not_null(end);
		memset(from, ' ', (size_t)(end + 2 - from));
	}
}

/* The name that a declaration ends with: "be16_t port", "char name[64]". */
static void member_name(const char *from, const char *semicolon, char name[64])
{
	const char *end = memchr(from, '[', (size_t)(semicolon - from));
	const char *start;

	if (end == NULL)
		end = semicolon;
	start = end;
	while (isalnum((unsigned char)start[-1]) || start[-1] == '_')
		start--;
	snprintf(name, 64, "%.*s", (int)(end - start), start);
}

/* Checks one struct of wire.h; returns how many members it has. */
static int check_struct(const char *type, const char *body, const char *end)
{
	int n = 0;

	for (const char *at = body; at < end; n++) {
		const char *semicolon = memchr(at, ';', (size_t)(end - at));
		char name[64];
		char line[192];

		if (semicolon == NULL)
			return n;
		member_name(at, semicolon, name);
		snprintf(line, sizeof(line), "\n%s.%s ", type, name);
		cr_expect(strstr(wire_abi_text(), line) != NULL,
			  "%s.%s is not in the layout's text", type, name);
		at = semicolon + 1;
	}
	return n;
}

static int count_lines_of(const char *type)
{
	const char *at = wire_abi_text();
	char start[128];
	int n = 0;

	snprintf(start, sizeof(start), "\n%s.", type);
	while ((at = strstr(at, start)) != NULL) {
		at++;
		n++;
	}
	return n;
}

Test(wire_golden, every_member_of_every_message_is_in_the_text)
{
	char *text = read_text(SLUICE_SOURCE_DIR "/include/sluice/wire.h");
	int n_structs = 0;

	blank_comments(text);
	for (char *at = strstr(text, "\nstruct "); at != NULL; at = strstr(at + 1, "\nstruct ")) {
		char *end = strstr(at, "\n};");
		char type[64] = "";

		cr_assert_not_null(end);
		cr_assert_eq(sscanf(at, "\nstruct %63[a-z_0-9] {", type), 1);
		cr_expect_eq(check_struct(type, strchr(at, '{') + 1, end), count_lines_of(type),
			     "%s: members", type);
		n_structs++;
	}
	cr_expect_gt(n_structs, 40);
	free(text);
}

Test(wire_golden, every_message_has_its_structs_and_its_name)
{
#define X(upper, lower, number, sense)                                                             \
	cr_expect_str_eq(wire_type_name(number), #lower);                                          \
	cr_expect(sizeof(struct wire_##lower##_request) % 4 == 0 &&                                \
		  sizeof(struct wire_header) + sizeof(struct wire_##lower##_request) <=            \
			  WIRE_MAX_MESSAGE);                                                       \
	cr_expect(sizeof(struct wire_header) + sizeof(struct wire_##lower##_reply) <=              \
		  WIRE_MAX_MESSAGE);
	WIRE_MESSAGE_LIST(X)
#undef X
	cr_expect_str_eq(wire_type_name(0), "unknown");
	cr_expect_str_eq(wire_type_name(65535), "unknown");
}

Test(wire_golden, names_lead_back_to_their_numbers)
{
	for (uint8_t i = WIRE_STATE_READY; i <= WIRE_STATE_MAINT; i++)
		cr_expect_eq(wire_state_from_name(wire_state_name(i)), i);
	cr_expect_eq(wire_mode_from_name("nat"), WIRE_MODE_NAT);
	cr_expect_eq(wire_mode_from_name("fullnat"), WIRE_MODE_FULLNAT);
	cr_expect_eq(wire_scheduler_from_name("maglev"), WIRE_SCHEDULER_MAGLEV);
	cr_expect_eq(wire_state_from_name("unknown"), 0);
	cr_expect_eq(wire_state_from_name(""), 0);
	cr_expect_str_eq(wire_state_name(0), "unknown");
	cr_expect_str_eq(wire_state_name(255), "unknown");
	cr_expect_str_eq(wire_flow_state_name(0), "free");
	cr_expect_str_eq(wire_flow_state_name(4), "closed");
	cr_expect_str_eq(wire_flow_state_name(5), "unknown");
}

Test(wire_golden, ipv4_addresses_are_written_as_the_library_writes_them)
{
	char text[WIRE_ADDRESS_TEXT], expected[WIRE_ADDRESS_TEXT];

	for (uint32_t i = 0; i < 4 * 256; i++) {
		union sl_addr addr = {.byte = {[0] = 10, [1] = 0, [2] = 255, [3] = 9}};

		addr.byte[i / 256] = (uint8_t)i;
		cr_assert_not_null(inet_ntop(AF_INET, addr.byte, expected, sizeof(expected)));
		cr_expect_str_eq(wire_format_addr(&addr, SL_FAMILY_IPV4, text), expected);
		(void)snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected),
			       ":%u", i * 63);
		cr_expect_str_eq(wire_format_endpoint(&addr, sl_to_be16((uint16_t)(i * 63)),
						      SL_FAMILY_IPV4, text),
				 expected);
	}
}

Test(wire_golden, addresses_are_written_as_people_write_them)
{
	struct wire_address address = {.addr.word = {SL_BE32(0xcb00710au)},
				       .port = SL_BE16(80),
				       .protocol = SL_PROTOCOL_TCP,
				       .family = SL_FAMILY_IPV4};
	char text[WIRE_ADDRESS_TEXT];

	cr_expect_str_eq(wire_format_address(&address, text), "203.0.113.10:80/tcp");
	address.addr = (union sl_addr){.word = {SL_BE32(0x20010db8u), 0, 0, SL_BE32(1)}};
	address.family = SL_FAMILY_IPV6;
	address.protocol = SL_PROTOCOL_UDP;
	address.port = SL_BE16(53);
	cr_expect_str_eq(wire_format_address(&address, text), "[2001:db8::1]:53/udp");
	cr_expect_str_eq(wire_format_endpoint(&address.addr, SL_BE16(65535), SL_FAMILY_IPV6, text),
			 "[2001:db8::1]:65535");
	memset(&address.addr, 0x11, sizeof(address.addr));
	address.protocol = 255;
	address.port = 0xffff;
	cr_expect_str_eq(wire_format_address(&address, text),
			 "[1111:1111:1111:1111:1111:1111:1111:1111]:65535/255");
}
