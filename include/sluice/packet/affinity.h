/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Which backend a client keeps: an entry for each prefix of clients of one service. What an entry says
 * is one word, so that it is read and written at once; times are ticks that wrap.
 *
 * The second half is a table that threads share without a lock, by the trick of Hyatt and Mann ("A
 * lockless transposition table implementation for parallel search chess engines", 2002): beside the
 * word stands the word XOR the hash of whose it is. Halves of two writers agree with no hash, so a
 * torn entry is nobody's. The engine allocates the buckets.
 */
#pragma once

#include <sluice/base.h>
#include <sluice/packet/siphash.h>
#include <sluice/tables.h>

enum {
	SL_AFFINITY_EPOCH_AT = 17,  /* first bit of the backend's epoch; below: its index */
	SL_AFFINITY_EXPIRY_AT = 33, /* of the expiry, the low bits of its ticks */
	SL_AFFINITY_TIME_MASK = 0x7fffffff,
	SL_AFFINITY_WAYS = 4, /* entries of a bucket */
};

_Static_assert(SL_MAX_BACKENDS == 1 << SL_AFFINITY_EPOCH_AT, "room for a backend's index");

/** @client without what lies beyond its first @length bits. */
SL_INLINE union sl_addr sl_affinity_prefix(const union sl_addr *client, uint32_t length)
{
	union sl_addr prefix = *client;

	for (uint32_t i = 0; i < 4; i++) {
		uint32_t n = length > 32 * i ? length - 32 * i : 0;

		/* Without a branch for 0 and for 32 bits, which no shift of 32 bits has both. */
		prefix.word[i] &=
			sl_to_be32((uint32_t)(0xffffffff00000000ull >> (n < 32 ? n : 32)));
	}
	return prefix;
}

/** The keyed hash of whose an entry is. @service, @epoch: its index and epoch. @prefix: of @family. */
SL_INLINE uint64_t sl_affinity_hash(const struct sl_hash_key *key, uint32_t service, uint16_t epoch,
				    const union sl_addr *prefix, uint8_t family)
{
	uint64_t owner = (uint64_t)epoch << 16 | service;

	if (family == SL_FAMILY_IPV4) {
		const uint64_t word[1] = {owner << 32 | prefix->ipv4};

		return sl_siphash13_words(key, word, 1);
	} else {
		const uint64_t word[3] = {
			(uint64_t)prefix->word[1] << 32 | prefix->word[0],
			(uint64_t)prefix->word[3] << 32 | prefix->word[2],
			owner,
		};

		return sl_siphash13_words(key, word, 3);
	}
}

/** What an entry says: @backend, of @epoch, until @expires (ticks). 0 stands for no entry. */
SL_INLINE uint64_t sl_affinity_word(uint32_t backend, uint16_t epoch, uint32_t expires)
{
	return (uint64_t)expires << SL_AFFINITY_EXPIRY_AT |
	       (uint64_t)epoch << SL_AFFINITY_EPOCH_AT | backend;
}

SL_INLINE uint32_t sl_affinity_backend(uint64_t word)
{
	return (uint32_t)word & (SL_MAX_BACKENDS - 1);
}

SL_INLINE uint16_t sl_affinity_epoch(uint64_t word)
{
	return (uint16_t)(word >> SL_AFFINITY_EPOCH_AT);
}

/**
 * Ticks that are left to the entry that says @word, 0: it has expired, or is none. What seems to have
 * more than any entry can be given has expired: by the wrapping clock it is more than four years old.
 */
SL_INLINE uint32_t sl_affinity_left(uint64_t word, uint32_t now)
{
	uint32_t left = ((uint32_t)(word >> SL_AFFINITY_EXPIRY_AT) - now) & SL_AFFINITY_TIME_MASK;

	return word != 0 && left <= SL_MAX_TIMEOUT_SEC * SL_TICKS_PER_SEC ? left : 0;
}

/** Whether the entry that said @was had not expired, and @word has its backend. */
SL_INLINE bool sl_affinity_is_kept(uint64_t was, uint64_t word, uint32_t now)
{
	return sl_affinity_left(was, now) != 0 &&
	       sl_affinity_backend(was) == sl_affinity_backend(word) &&
	       sl_affinity_epoch(was) == sl_affinity_epoch(word);
}

/** All zero: free. */
struct sl_affinity_entry {
	uint64_t check; /* the word XOR the hash of whose it is */
	uint64_t word;
};

struct sl_affinity_bucket {
	struct sl_affinity_entry entry[SL_AFFINITY_WAYS];
} __attribute__((aligned(SL_CACHE_LINE)));

_Static_assert(sizeof(struct sl_affinity_bucket) == SL_CACHE_LINE, "a cache line");

/** The place of @hash's bucket among @n_buckets. */
SL_INLINE uint32_t sl_affinity_place(uint64_t hash, uint32_t n_buckets)
{
	return (uint32_t)(((hash >> 32) * n_buckets) >> 32);
}

SL_INLINE uint64_t sl_affinity_load(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/** Writes @word for @hash into @entry. */
SL_INLINE void sl_affinity_store(struct sl_affinity_entry *entry, uint64_t hash, uint64_t word)
{
	__atomic_store_n(&entry->word, word, __ATOMIC_RELAXED);
	__atomic_store_n(&entry->check, word ^ hash, __ATOMIC_RELAXED);
}

/** What the live entry of @hash says, or 0. Any thread. */
SL_INLINE uint64_t sl_affinity_find(const struct sl_affinity_bucket *bucket, uint64_t hash,
				    uint32_t now)
{
	for (uint32_t i = 0; i < SL_AFFINITY_WAYS; i++) {
		uint64_t word = sl_affinity_load(&bucket->entry[i].word);

		if ((sl_affinity_load(&bucket->entry[i].check) ^ word) == hash &&
		    sl_affinity_left(word, now) != 0)
			return word;
	}
	return 0;
}

/**
 * Lets the entry of @hash say @word: the one that it has, else the one of the bucket that expires
 * first. What that said before, which has not expired and is another's, or 0. Any thread: of two
 * that write at once, one may be forgotten.
 */
SL_INLINE uint64_t sl_affinity_put(struct sl_affinity_bucket *bucket, uint64_t hash, uint64_t word,
				   uint32_t now)
{
	uint32_t least = SL_AFFINITY_TIME_MASK;
	uint64_t evicted = 0;
	uint32_t at = 0;

	for (uint32_t i = 0; i < SL_AFFINITY_WAYS; i++) {
		uint64_t was = sl_affinity_load(&bucket->entry[i].word);
		uint32_t left = sl_affinity_left(was, now);

		if ((sl_affinity_load(&bucket->entry[i].check) ^ was) == hash && was != 0) {
			evicted = 0;
			at = i;
			break;
		}
		if (left < least) {
			least = left;
			evicted = left != 0 ? was : 0;
			at = i;
		}
	}
	sl_affinity_store(&bucket->entry[at], hash, word);
	return evicted;
}
