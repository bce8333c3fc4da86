/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "control/daemon/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/daemon/desired.h"
#include "control/daemon/state.h"
#include "wire/wire_abi.h"

const char state_name[] = "state.json";
const char state_last_good_name[] = "state.json.last-good";

static const char copy_name[] = "state.json.copy";

uint64_t state_text_digest(const char *text, size_t length)
{
	uint64_t digest = wire_digest(text, length);

	return digest ? digest : 1;
}

int state_file_refuse(char *error, const char *dir, const char *name, const char *step, int status)
{
	(void)snprintf(error, STATE_MAX_ERROR, "%.300s/%s: %s: %s", dir, name, step,
		       strerror(-status));
	return status;
}

void state_file_make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

json_t *state_file_hex(uint64_t value)
{
	char text[17];

	(void)snprintf(text, sizeof(text), "%016" PRIx64, value);
	return json_string(text);
}

json_t *state_file_key(const struct sl_hash_key *key)
{
	char text[33];

	(void)snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64, key->word[0], key->word[1]);
	return json_string(text);
}

bool state_file_parse_hex(const char *text, size_t n_digits, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < n_digits; i++) {
		char c = text[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
						   : -1;

		if (digit < 0)
			return false;
		*value = *value << 4 | (uint64_t)digit;
	}
	return true;
}

bool state_file_parse_number(const char *text, uint64_t *value)
{
	return strlen(text) == 16 && state_file_parse_hex(text, 16, value);
}

bool state_file_parse_key(const char *text, struct sl_hash_key *key)
{
	return strlen(text) == 32 && state_file_parse_hex(text, 16, &key->word[0]) &&
	       state_file_parse_hex(text + 16, 16, &key->word[1]);
}

/* A service's record as version 1 had it: it ended behind the name, before there were source pools. */
static uint64_t digest_of_version_1(struct wire_service wire)
{
	wire.proxy_protocol = 0;
	wire.stateless_replies = 0;
	return wire_digest(&wire, offsetof(struct wire_service, source_port_first));
}

/* As version 2 had it: it ended behind the source pool. */
static uint64_t digest_of_version_2(struct wire_service wire)
{
	return wire_digest(&wire, offsetof(struct wire_service, flow_log));
}

/* As versions 3 and 4 had it: it ended behind the flow log, but for three bytes of padding. */
static uint64_t digest_of_version_3(struct wire_service wire)
{
	return wire_digest(&wire, offsetof(struct wire_service, affinity_timeout_sec));
}

static uint64_t service_digest(int version, const struct wire_service *wire)
{
	switch (version) {
	case 1:
		return digest_of_version_1(*wire);
	case 2:
		return digest_of_version_2(*wire);
	case 3:
	case 4:
		return digest_of_version_3(*wire);
	default:
		return wire_digest(wire, sizeof(*wire));
	}
}

/* A backend's record up to version 3 ended behind the weight, and up to version 5 behind max_flows. */
static uint64_t backend_digest(int version, const struct wire_backend *wire)
{
	return wire_digest(wire, version <= 3   ? offsetof(struct wire_backend, max_flows)
				 : version <= 5 ? offsetof(struct wire_backend, canary_weight)
						: sizeof(*wire));
}

/* Up to version 5 a prefix was of the service's family, and its record did not say so. */
static uint64_t listed_digest(int version, const struct wire_listed *wire)
{
	struct wire_listed record = *wire;

	if (version <= 5)
		record.family = 0;
	return wire_digest(&record, sizeof(record));
}

uint64_t state_file_digest(int version, const struct desired *desired,
			   const struct sl_hash_key *key)
{
	uint64_t digest = desired_digest(desired, key);

	for (size_t i = 0; version < STATE_VERSION && i < desired->n_services; i++) {
		const struct desired_service *service = desired->service[i];

		digest -= wire_digest(&service->wire, sizeof(service->wire));
		digest += service_digest(version, &service->wire);
		for (uint32_t k = 0; k < service->n_backends; k++) {
			const struct wire_backend *wire = &service->backend[k].wire;

			digest -= wire_digest(wire, sizeof(*wire));
			digest += backend_digest(version, wire);
		}
		for (uint32_t k = 0; k < service->n_listed; k++) {
			const struct wire_listed *wire = &service->listed[k];

			digest -= wire_digest(wire, sizeof(*wire));
			digest += listed_digest(version, wire);
		}
	}
	return digest;
}

int state_file_write(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, text, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		text += written;
		length -= (size_t)written;
	}
	return 0;
}

int state_file_write_new(int dir_fd, const char *name, const char *text, size_t length,
			 const char **step)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int status;

	*step = "open";
	if (fd < 0)
		return -errno;
	*step = "write";
	status = state_file_write(fd, text, length);
	if (!status) {
		*step = "fsync";
		status = fsync(fd) ? -errno : 0;
	}
	if (close(fd) && !status) {
		*step = "close";
		status = -errno;
	}
	return status;
}

static int copy_bytes(int from_fd, int to_fd)
{
	char bytes[65536];
	ssize_t n;

	while ((n = read(from_fd, bytes, sizeof(bytes))) != 0) {
		int status = n > 0 ? state_file_write(to_fd, bytes, (size_t)n) : 0;

		if (n < 0 && errno != EINTR)
			return -errno;
		if (status)
			return status;
	}
	return fsync(to_fd) ? -errno : 0;
}

int state_file_copy(int dir_fd, const char *from, const char *to)
{
	int from_fd = openat(dir_fd, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int to_fd, status;

	if (from_fd < 0)
		return -errno;
	to_fd = openat(dir_fd, copy_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		       0600);
	status = to_fd < 0 ? -errno : copy_bytes(from_fd, to_fd);
	(void)close(from_fd);
	if (to_fd >= 0 && close(to_fd) && !status)
		status = -errno;
	if (!status && renameat(dir_fd, copy_name, dir_fd, to))
		status = -errno;
	if (status)
		(void)unlinkat(dir_fd, copy_name, 0);
	return status;
}

int state_file_read(const char *path, char **text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat file;
	int64_t n = 0;
	int status = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &file))
		status = -errno;
	*text = status ? NULL : calloc(1, (size_t)file.st_size + 1);
	if (!status && !*text)
		status = -ENOMEM;
	while (!status && n < file.st_size) {
		ssize_t more = read(fd, *text + n, (size_t)(file.st_size - n));

		if (more < 0 && errno != EINTR)
			status = -errno;
		if (more == 0)
			break;
		n += more > 0 ? more : 0;
	}
	(void)close(fd);
	if (status)
		free(*text);
	return status;
}
