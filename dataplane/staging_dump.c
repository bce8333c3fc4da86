/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/staging_dump.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/staging.h"
#include "wire/wire_abi.h"

enum {
	MAX_LISTED = SL_MAX_DENIES + SL_MAX_CANARY_SOURCES, /* of all services */
};

static const char dump_magic[8] = "SLSTATE1";

struct dump_head {
	char magic[8];
	uint64_t abi_hash;
	uint64_t generation;
	struct sl_hash_key hash_key;
	uint32_t n_services;
	uint32_t n_backends;
	uint32_t n_listed;
	uint32_t reserved;
};

struct dump_service {
	struct wire_service wire;
	uint16_t epoch;
	uint8_t is_live;
	uint8_t reserved[5];
};

struct dump_backend {
	struct wire_backend wire;
	uint16_t epoch;
	uint8_t is_live;
	uint8_t reserved[5];
};

static uint32_t n_listed(const struct staging *staging)
{
	return staging->n_denied + staging->n_canary_sources;
}

size_t staging_dump_size(const struct staging *staging)
{
	return sizeof(struct dump_head) + staging->n_services * sizeof(struct dump_service) +
	       staging->n_backends * sizeof(struct dump_backend) +
	       n_listed(staging) * sizeof(struct wire_listed);
}

void staging_dump(const struct staging *staging, uint64_t generation,
		  const struct sl_hash_key *hash_key, void *out)
{
	struct dump_head *head = out;
	struct dump_service *service = (struct dump_service *)(head + 1);
	struct dump_backend *backend = (struct dump_backend *)(service + staging->n_services);
	struct wire_listed *listed = (struct wire_listed *)(backend + staging->n_backends);

	memset(out, 0, staging_dump_size(staging));
	memcpy(head->magic, dump_magic, sizeof(head->magic));
	head->abi_hash = wire_abi_hash();
	head->generation = generation;
	head->hash_key = *hash_key;
	head->n_services = staging->n_services;
	head->n_backends = staging->n_backends;
	head->n_listed = n_listed(staging);
	for (uint32_t i = 0; i < staging->n_services; i++) {
		service[i].wire = staging->service[i].wire;
		service[i].epoch = staging->service[i].epoch;
		service[i].is_live = staging->service[i].is_live;
	}
	for (uint32_t i = 0; i < staging->n_backends; i++) {
		backend[i].wire = staging->backend[i].wire;
		backend[i].epoch = staging->backend[i].epoch;
		backend[i].is_live = staging->backend[i].is_live;
	}
	for (uint32_t i = 0; i < staging->n_services; i++)
		for (uint32_t k = 0; k < staging->service[i].n_listed; k++)
			*listed++ = staging->service[i].listed[k];
}

static int judge_head(const struct dump_head *head, size_t size, char *error)
{
	if (size < sizeof(*head) || memcmp(head->magic, dump_magic, sizeof(head->magic)) != 0) {
		snprintf(error, SL_MAX_ERROR, "saved state: not one of ours (%zu bytes)", size);
		return -EINVAL;
	}
	if (head->abi_hash != wire_abi_hash()) {
		snprintf(error, SL_MAX_ERROR, "saved state: ABI %016llx (this program: %016llx)",
			 (unsigned long long)head->abi_hash, (unsigned long long)wire_abi_hash());
		return -EINVAL;
	}
	if (head->n_services > SL_MAX_SERVICES || head->n_backends > SL_MAX_BACKENDS ||
	    head->n_listed > MAX_LISTED ||
	    size < sizeof(*head) + head->n_services * sizeof(struct dump_service) +
			    head->n_backends * sizeof(struct dump_backend) +
			    head->n_listed * sizeof(struct wire_listed)) {
		snprintf(
			error, SL_MAX_ERROR,
			"saved state: %u services, %u backends and %u prefixes in %zu bytes (limit "
			"%d, %d, %d)",
			head->n_services, head->n_backends, head->n_listed, size, SL_MAX_SERVICES,
			SL_MAX_BACKENDS, MAX_LISTED);
		return -EINVAL;
	}
	return 0;
}

int staging_load(struct staging *staging, const void *dump, size_t size, uint64_t *generation,
		 struct sl_hash_key *hash_key, char *error)
{
	const struct dump_head *head = dump;
	const struct dump_service *service = (const struct dump_service *)(head + 1);
	const struct dump_backend *backend;
	const struct wire_listed *listed;
	int status = judge_head(head, size, error);

	if (status != 0)
		return status;
	backend = (const struct dump_backend *)(service + head->n_services);
	for (uint32_t i = 0; i < head->n_services && status == 0; i++)
		status = staging_restore_service(staging, service[i].epoch,
						 service[i].is_live ? &service[i].wire : NULL,
						 error);
	for (uint32_t i = 0; i < head->n_backends && status == 0; i++)
		status = staging_restore_backend(staging, backend[i].epoch,
						 backend[i].is_live ? &backend[i].wire : NULL,
						 error);
	listed = (const struct wire_listed *)(backend + head->n_backends);
	for (uint32_t i = 0; i < head->n_listed && status == 0; i++)
		status = staging_put_listed(staging, &listed[i], error);
	if (status != 0)
		return status;
	staging_restore_end(staging);
	*generation = head->generation;
	*hash_key = head->hash_key;
	return 0;
}
