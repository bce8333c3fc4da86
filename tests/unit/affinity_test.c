/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* include/sluice/packet/affinity.h: prefixes, words, wrapping time, and the table against a naive twin. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include <sluice/packet/affinity.h>

#include "tests/unit/random.h"

static const struct sl_hash_key key = {{0x0123456789abcdefull, 0xfedcba9876543210ull}};

static union sl_addr random_addr(struct random *random)
{
	union sl_addr addr;

	for (int i = 0; i < 4; i++)
		addr.word[i] = (be32_t)random_next(random);
	return addr;
}

Test(affinity, a_prefix_has_the_first_bits_and_zeros)
{
	struct random random = random_seeded();

	for (int n = 0; n < 100000; n++) {
		union sl_addr addr = random_addr(&random);
		uint32_t length = (uint32_t)random_next(&random) % 129;
		union sl_addr prefix = sl_affinity_prefix(&addr, length);

		for (uint32_t bit = 0; bit < 128; bit++) {
			uint8_t mask = (uint8_t)(0x80 >> bit % 8);

			cr_assert_eq(prefix.byte[bit / 8] & mask,
				     bit < length ? addr.byte[bit / 8] & mask : 0, "bit %u of %u",
				     bit, length);
		}
	}
}

Test(affinity, a_word_says_what_was_put_into_it_until_it_expires)
{
	struct random random = random_seeded();

	for (int n = 0; n < 100000; n++) {
		uint32_t backend = (uint32_t)random_next(&random) % SL_MAX_BACKENDS;
		uint16_t epoch = (uint16_t)random_next(&random);
		uint32_t now = (uint32_t)random_next(&random);
		uint32_t ticks = 1 + (uint32_t)random_next(&random) %
					     (SL_MAX_TIMEOUT_SEC * SL_TICKS_PER_SEC);
		uint64_t word = sl_affinity_word(backend, epoch, now + ticks);
		uint32_t later = (uint32_t)random_next(&random) % ticks;

		if (word == 0)
			continue;
		cr_assert_eq(sl_affinity_backend(word), backend);
		cr_assert_eq(sl_affinity_epoch(word), epoch);
		cr_assert_eq(sl_affinity_left(word, now), ticks);
		cr_assert_eq(sl_affinity_left(word, now + later), ticks - later);
		cr_assert_eq(sl_affinity_left(word, now + ticks), 0);
		cr_assert_eq(
			sl_affinity_left(word,
					 now + ticks + (uint32_t)random_next(&random) % (1u << 30)),
			0, "two years after it has expired it has still");
		cr_assert(sl_affinity_is_kept(word, word, now));
		cr_assert_not(sl_affinity_is_kept(word, word, now + ticks));
		cr_assert_not(sl_affinity_is_kept(word, word ^ 1, now));
		cr_assert_not(sl_affinity_is_kept(word, word ^ 1ull << SL_AFFINITY_EPOCH_AT, now));
	}
	cr_expect_eq(sl_affinity_left(0, 0u - 5), 0, "nothing is no entry, whatever the time");
}

Test(affinity, hashes_tell_services_epochs_families_and_prefixes_apart)
{
	const union sl_addr a = {.word = {SL_BE32(0xc6336407)}};
	const union sl_addr b = {.word = {SL_BE32(0xc6336408)}};
	uint64_t hash = sl_affinity_hash(&key, 7, 3, &a, SL_FAMILY_IPV4);

	cr_expect_eq(hash, sl_affinity_hash(&key, 7, 3, &a, SL_FAMILY_IPV4));
	cr_expect_neq(hash, sl_affinity_hash(&key, 8, 3, &a, SL_FAMILY_IPV4));
	cr_expect_neq(hash, sl_affinity_hash(&key, 7, 4, &a, SL_FAMILY_IPV4));
	cr_expect_neq(hash, sl_affinity_hash(&key, 7, 3, &b, SL_FAMILY_IPV4));
	cr_expect_neq(hash, sl_affinity_hash(&key, 7, 3, &a, SL_FAMILY_IPV6));
}

/** The twin: the same bucket as a list of who has what until when, in full. */
struct naive {
	bool is_used;
	uint64_t hash;
	uint64_t word;
	int64_t expires;
};

static struct naive *naive_find(struct naive *list, uint64_t hash)
{
	for (int i = 0; i < SL_AFFINITY_WAYS; i++)
		if (list[i].is_used && list[i].hash == hash)
			return &list[i];
	return NULL;
}

/* The one that expires first, what has expired being all one; what it was that had not. */
static uint64_t naive_put(struct naive *list, uint64_t hash, uint64_t word, int64_t expires,
			  int64_t now)
{
	struct naive *at = naive_find(list, hash);
	uint64_t evicted = 0;

	if (at == NULL) {
		at = list;
		for (int i = 1; i < SL_AFFINITY_WAYS; i++) {
			int64_t left =
				list[i].is_used && list[i].expires > now ? list[i].expires : now;
			int64_t least = at->is_used && at->expires > now ? at->expires : now;

			if (left < least)
				at = &list[i];
		}
		evicted = at->is_used && at->expires > now ? at->word : 0;
	}
	*at = (struct naive){.is_used = true, .hash = hash, .word = word, .expires = expires};
	return evicted;
}

Test(affinity, a_bucket_is_what_its_twin_is)
{
	enum { OWNERS = 9 };
	struct random random = random_seeded();
	uint32_t n_evicted = 0;

	for (int round = 0; round < 200; round++) {
		struct sl_affinity_bucket bucket = {0};
		struct naive list[SL_AFFINITY_WAYS] = {{0}};
		int64_t now = (int64_t)(random_next(&random) >> 24); /* wraps many times over */
		uint64_t hash[OWNERS];

		for (int i = 0; i < OWNERS; i++)
			hash[i] = random_next(&random);
		for (int step = 0; step < 500; step++) {
			uint64_t owner = hash[random_next(&random) % OWNERS];
			uint32_t timeout = 1 + (uint32_t)random_next(&random) % 300;
			uint64_t word = sl_affinity_word(
				(uint32_t)random_next(&random) % SL_MAX_BACKENDS,
				(uint16_t)random_next(&random), (uint32_t)(now + timeout));
			const struct naive *known = naive_find(list, owner);
			uint64_t wanted = known != NULL && known->expires > now ? known->word : 0;
			uint64_t evicted;

			cr_assert_eq(sl_affinity_find(&bucket, owner, (uint32_t)now), wanted);
			if (random_next(&random) % 2 == 0) {
				evicted = sl_affinity_put(&bucket, owner, word, (uint32_t)now);
				cr_assert_eq(evicted,
					     naive_put(list, owner, word, now + timeout, now));
				n_evicted += evicted != 0;
			}
			now += (int64_t)(random_next(&random) % 64);
		}
	}
	cr_expect_gt(n_evicted, 100, "some of it is to be seen");
}

enum {
	WRITERS = 3,
	WRITES = 200000,
};

static struct sl_affinity_bucket shared;

/* Each owner has a word of its own, so that what is found of another's shows. */
static uint64_t word_of(uint64_t owner)
{
	return sl_affinity_word((uint32_t)owner * 7919, (uint16_t)(owner * 31), 1000);
}

static uint64_t hash_of(uint64_t owner)
{
	return (owner + 1) * 0x9e3779b97f4a7c15ull;
}

static void *write_many(void *argument)
{
	uint64_t *n_wrong = argument;

	for (uint64_t i = 0; i < WRITES; i++) {
		uint64_t owner = (i * 5 + *n_wrong) % 11;
		uint64_t found = sl_affinity_find(&shared, hash_of(owner), 0);

		if (found != 0 && found != word_of(owner))
			(*n_wrong)++;
		(void)sl_affinity_put(&shared, hash_of(owner), word_of(owner), 0);
	}
	return NULL;
}

Test(affinity, writers_at_once_leave_no_entry_that_says_anothers)
{
	pthread_t thread[WRITERS];
	uint64_t n_wrong[WRITERS] = {0};

	for (int i = 0; i < WRITERS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, write_many, &n_wrong[i]), 0);
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(thread[i], NULL);
		cr_expect_eq(n_wrong[i], 0);
	}
}
