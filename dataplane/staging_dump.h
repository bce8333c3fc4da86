/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The committed state as bytes, so that the next process of an engine whose tables outlive it gives
 * services and backends the indices that its flows name. Only for the same version of the program
 * family on the same host: the layout is memory's, and a dump says which ABI it is of.
 */
#pragma once

#include "dataplane/snapshot.h"

/** Bytes that staging_dump() writes. */
size_t staging_dump_size(const struct staging *staging);

/** @generation, @hash_key: of the snapshot that @staging became. @out: staging_dump_size() bytes. */
void staging_dump(const struct staging *staging, uint64_t generation,
		  const struct sl_hash_key *hash_key, void *out);

/**
 * Reads a dump into @staging, which must be new. Nothing in it is trusted.
 * 0; -EINVAL, -ENOSPC, -ENOMEM with @error (SL_MAX_ERROR bytes), @staging being of no use then.
 */
int staging_load(struct staging *staging, const void *dump, size_t size, uint64_t *generation,
		 struct sl_hash_key *hash_key, char *error) SL_MUST_USE;
