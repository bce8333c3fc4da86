/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Steering: the classes of ports against the hash of all of them, and walks that give owned, distinct
 * ports of the range, and all of them where that is promised.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sluice/limits.h>

#include "dataplane/steering.h"
#include "tests/unit/random.h"

static struct steering steering;
static uint8_t reta[STEERING_MAX_RETA];
static char error[SL_MAX_ERROR];

static const uint8_t families[] = {SL_FAMILY_IPV4, SL_FAMILY_IPV6};

static void init_even(const uint8_t *key, uint32_t reta_size, uint32_t n_workers)
{
	for (uint32_t i = 0; i < reta_size; i++)
		reta[i] = (uint8_t)(i % n_workers);
	cr_assert_eq(steering_init(&steering, key, 40, reta, reta_size, n_workers, error), 0, "%s",
		     error);
}

static struct sl_tuple random_reply(struct random *random, uint8_t family)
{
	struct sl_tuple reply;

	random_fill(random, &reply, sizeof(reply));
	reply.family = family;
	return reply;
}

static const struct steering_ports *ports_of(uint8_t family)
{
	return family == SL_FAMILY_IPV4 ? &steering.ports4 : &steering.ports6;
}

static uint32_t owner(const struct sl_tuple *reply, uint16_t port)
{
	struct sl_tuple with_port = *reply;

	with_port.destination_port = sl_to_be16(port);
	return steering_worker(&steering, sl_toeplitz_hash(&steering.toeplitz, &with_port));
}

/* The ports that tables say are of a class are those that the hash says, each one once. */
static void assert_classes(uint8_t family, const char *name)
{
	const struct steering_ports *ports = ports_of(family);
	static uint8_t is_seen[65536];
	uint32_t n_classes = 0;

	memset(is_seen, 0, sizeof(is_seen));
	for (uint32_t low = 0; low <= steering.reta_mask; low++) {
		if (!ports->is_class[low])
			continue;
		n_classes++;
		for (uint32_t k = 0; k < ports->kernel_size; k++) {
			uint16_t port = ports->solution[low] ^ ports->kernel_low[k & 255] ^
					ports->kernel_high[k >> 8];

			cr_assert_eq(
				sl_toeplitz_port(&steering.toeplitz, family, sl_to_be16(port)) &
					steering.reta_mask,
				low, "%s, IPv%u", name, family);
			cr_assert(!is_seen[port], "%s, IPv%u: port %u twice", name, family, port);
			is_seen[port] = 1;
		}
	}
	cr_assert_eq(n_classes, 1u << ports->rank);
	cr_assert_eq(n_classes * ports->kernel_size, 65536);
}

/* Whether the classes of ports 1024..65535 are equal within 5 % and one port. */
static bool is_balanced(uint8_t family, uint32_t bits)
{
	static uint32_t count[STEERING_MAX_RETA];
	double fair = 64512.0 / (1u << bits);

	memset(count, 0, sizeof(count));
	for (uint32_t port = 1024; port < 65536; port++)
		count[sl_toeplitz_port(&steering.toeplitz, family, sl_to_be16((uint16_t)port)) &
		      steering.reta_mask]++;
	for (uint32_t low = 0; low < 1u << bits; low++)
		if (count[low] < fair * 0.95 - 1 || count[low] > fair * 1.05 + 1)
			return false;
	return true;
}

Test(steering, well_known_keys_have_full_rank_and_even_classes)
{
	static const uint32_t bits[] = {7, 9, 11};
	static const struct {
		const char *name;
		const uint8_t *key;
	} row[] = {
		{"Microsoft's key", sl_toeplitz_key_microsoft},
		{"symmetric key", sl_toeplitz_key_symmetric},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(row); i++) {
		for (size_t b = 0; b < SL_ARRAY_LEN(bits); b++) {
			init_even(row[i].key, 1u << bits[b], 4);
			for (size_t f = 0; f < SL_ARRAY_LEN(families); f++) {
				cr_expect_eq(ports_of(families[f])->rank, bits[b],
					     "%s, IPv%u, %u bits: rank %u", row[i].name,
					     families[f], bits[b], ports_of(families[f])->rank);
				assert_classes(families[f], row[i].name);
				cr_expect(is_balanced(families[f], bits[b]), "%s, IPv%u, %u bits",
					  row[i].name, families[f], bits[b]);
			}
		}
	}
}

/*
 * A port's 16 bits and b of the hash make a random Hankel matrix: its rank is not full for about
 * one key in 2^(17 - b), that is 1,024, 256 and 64. And where it is full, ports 0..1023 may all be
 * of a few classes, which lack them: more than 5 % of one in 200, 70 and 17 keys, as counted here.
 */
Test(steering, random_keys_have_full_rank_and_even_classes_but_for_few)
{
	static const uint32_t bits[] = {7, 9, 11};
	struct random random = random_seeded();
	enum { N_KEYS = 400 };

	for (size_t b = 0; b < SL_ARRAY_LEN(bits); b++) {
		double expected = 2.0 * N_KEYS / (1u << (17 - bits[b]));
		uint32_t n_deficient = 0;
		uint32_t n_uneven = 0;

		for (int i = 0; i < N_KEYS; i++) {
			uint8_t key[40];

			random_fill(&random, key, sizeof(key));
			init_even(key, 1u << bits[b], 4);
			for (size_t f = 0; f < SL_ARRAY_LEN(families); f++) {
				if (i < 10)
					assert_classes(families[f], "random key");
				if (ports_of(families[f])->rank != bits[b])
					n_deficient++;
				else if (!is_balanced(families[f], bits[b]))
					n_uneven++;
			}
		}
		fprintf(stderr, "# %u bits, %u maps: %u not of full rank, %u uneven\n", bits[b],
			2 * N_KEYS, n_deficient, n_uneven);
		cr_expect(n_deficient <= 3 * expected + 10);
		cr_expect(n_uneven <= 2 * N_KEYS / 8);
	}
}

/* Walks to the end; asserts what always holds. Returns how many ports it gave. */
static uint32_t assert_walk(const struct sl_tuple *reply, uint32_t worker, uint16_t first,
			    uint16_t last, uint32_t random)
{
	struct steering_walk walk;
	uint16_t given[SL_SOURCE_PORT_TRIES];
	uint32_t n = 0;
	be16_t port;

	steering_walk_begin(&walk, &steering, reply, worker, first, last, random);
	while (steering_walk_next(&walk, &port)) {
		cr_assert_lt(n, SL_SOURCE_PORT_TRIES);
		given[n] = sl_from_be16(port);
		cr_assert(given[n] >= first && given[n] <= last, "%u..%u: %u", first, last,
			  given[n]);
		cr_assert_eq(owner(reply, given[n]), worker, "%u is worker %u's, not %u's",
			     given[n], owner(reply, given[n]), worker);
		for (uint32_t i = 0; i < n; i++)
			cr_assert_neq(given[i], given[n]);
		n++;
	}
	cr_assert(!steering_walk_next(&walk, &port));
	return n;
}

static uint32_t count_owned(const struct sl_tuple *reply, uint32_t worker, uint16_t first,
			    uint16_t last)
{
	struct sl_tuple without_port = *reply;
	uint32_t constant;
	uint32_t n = 0;

	without_port.destination_port = 0;
	constant = sl_toeplitz_hash(&steering.toeplitz, &without_port);
	for (uint32_t port = first; port <= last; port++)
		n += steering_worker(&steering,
				     constant ^ sl_toeplitz_port(&steering.toeplitz, reply->family,
								 sl_to_be16((uint16_t)port))) ==
		     worker;
	return n;
}

static uint32_t at_most_tries(uint32_t n)
{
	return n < SL_SOURCE_PORT_TRIES ? n : SL_SOURCE_PORT_TRIES;
}

Test(steering, walk_gives_all_tries_over_wide_ranges)
{
	static const uint32_t n_workers[] = {1, 2, 4, 8, 64};
	static const struct {
		uint16_t first;
		uint16_t last;
	} range[] = {{1, 65535}, {1024, 65535}, {32768, 60999}, {40000, 44099}};
	struct random random = random_seeded();

	for (uint32_t bits = 7; bits <= 11; bits += 2) {
		for (size_t w = 0; w < SL_ARRAY_LEN(n_workers); w++) {
			init_even(sl_toeplitz_key_microsoft, 1u << bits, n_workers[w]);
			for (int i = 0; i < 2000; i++) {
				struct sl_tuple reply = random_reply(&random, families[i & 1]);
				uint32_t worker = (uint32_t)(random_next(&random) % n_workers[w]);
				size_t r = (size_t)i / 2 % SL_ARRAY_LEN(range);

				cr_assert_eq(assert_walk(&reply, worker, range[r].first,
							 range[r].last,
							 (uint32_t)(random_next(&random) >> 32)),
					     SL_SOURCE_PORT_TRIES,
					     "%u bits, %u workers, %u..%u: too few", bits,
					     n_workers[w], range[r].first, range[r].last);
			}
		}
	}
}

Test(steering, walk_misses_no_port_of_a_narrow_range)
{
	static const uint32_t n_workers[] = {1, 2, 4, 8, 64};
	struct random random = random_seeded();

	for (size_t w = 0; w < SL_ARRAY_LEN(n_workers); w++) {
		init_even(sl_toeplitz_key_symmetric, 512, n_workers[w]);
		for (int i = 0; i < 2000; i++) {
			static const uint16_t size[] = {1, 2, 15, 16, 17, 100, 1000, 4096};
			struct sl_tuple reply = random_reply(&random, families[i & 1]);
			uint32_t worker = (uint32_t)(random_next(&random) % n_workers[w]);
			uint16_t n = size[(size_t)i / 2 % SL_ARRAY_LEN(size)];
			uint16_t first = (uint16_t)(1 + random_next(&random) % (65536u - n));
			uint16_t last = (uint16_t)(first + n - 1);

			cr_assert_eq(assert_walk(&reply, worker, first, last,
						 (uint32_t)(random_next(&random) >> 32)),
				     at_most_tries(count_owned(&reply, worker, first, last)),
				     "%u workers, %u ports", n_workers[w], n);
		}
	}
}

Test(steering, range_of_sixteen_ports_is_given_whole_to_one_worker)
{
	struct random random = random_seeded();
	struct sl_tuple reply = random_reply(&random, SL_FAMILY_IPV4);

	init_even(sl_toeplitz_key_microsoft, 128, 1);
	for (int i = 0; i < 1000; i++) {
		cr_assert_eq(assert_walk(&reply, 0, 40000, 40015,
					 (uint32_t)(random_next(&random) >> 32)),
			     16);
		cr_assert_eq(assert_walk(&reply, 0, 65535, 65535,
					 (uint32_t)(random_next(&random) >> 32)),
			     1);
	}
}

Test(steering, uneven_tables_and_workers_without_entries)
{
	struct random random = random_seeded();

	for (int i = 0; i < 400; i++) {
		uint32_t reta_size = 1u << (random_next(&random) % 12);
		uint32_t n_workers = (uint32_t)(random_next(&random) % 9) + 2;
		uint32_t n_entries[16] = {0};
		uint8_t key[40];

		random_fill(&random, key, sizeof(key));
		/* The higher the worker, the fewer its entries; the last one has at most one. */
		for (uint32_t k = 0; k < reta_size; k++) {
			reta[k] = (uint8_t)(random_next(&random) % n_workers *
					    (random_next(&random) % n_workers) / n_workers);
			n_entries[reta[k]]++;
		}
		if (i & 1) {
			n_entries[reta[0]]--;
			reta[0] = (uint8_t)(n_workers - 1);
			n_entries[reta[0]]++;
		}
		cr_assert_eq(steering_init(&steering, key, sizeof(key), reta, reta_size, n_workers,
					   error),
			     0);
		for (uint32_t worker = 0; worker < n_workers; worker++) {
			struct sl_tuple reply = random_reply(&random, families[i >> 1 & 1]);
			uint32_t n_owned = count_owned(&reply, worker, 1024, 65535);
			uint32_t n = assert_walk(&reply, worker, 1024, 65535,
						 (uint32_t)(random_next(&random) >> 32));

			cr_assert_eq(n, at_most_tries(n_owned), "worker %u with %u of %u entries",
				     worker, n_entries[worker], reta_size);
		}
	}
}

/* Keys under which many or all ports are of one class. */
Test(steering, keys_of_low_rank_give_what_there_is)
{
	struct random random = random_seeded();

	for (int i = 0; i < 200; i++) {
		uint8_t key[40] = {0};
		struct sl_tuple reply;
		uint32_t worker;

		/* All zero, one bit, one byte that repeats. */
		if (i % 4 == 1)
			key[random_next(&random) % 40] = (uint8_t)(1u << random_next(&random) % 8);
		if (i % 4 >= 2)
			memset(key, (int)(random_next(&random) & 0xff), sizeof(key));
		init_even(key, 128, 4);
		assert_classes(SL_FAMILY_IPV4, "key of low rank");
		assert_classes(SL_FAMILY_IPV6, "key of low rank");
		reply = random_reply(&random, families[i & 1]);
		for (worker = 0; worker < 4; worker++) {
			uint32_t n_owned = count_owned(&reply, worker, 1024, 65535);

			cr_assert_eq(assert_walk(&reply, worker, 1024, 65535,
						 (uint32_t)(random_next(&random) >> 32)),
				     at_most_tries(n_owned), "key %d, worker %u owns %u", i, worker,
				     n_owned);
		}
	}
}

Test(steering, every_owned_port_is_first_about_equally_often)
{
	static uint32_t count[65536];
	struct random random = random_seeded();
	struct sl_tuple reply = random_reply(&random, SL_FAMILY_IPV4);
	uint32_t n_owned;
	enum { N = 4000000 };

	init_even(sl_toeplitz_key_microsoft, 128, 8);
	n_owned = count_owned(&reply, 3, 1024, 65535);
	for (int i = 0; i < N; i++) {
		struct steering_walk walk;
		be16_t port;

		steering_walk_begin(&walk, &steering, &reply, 3, 1024, 65535,
				    (uint32_t)(random_next(&random) >> 32));
		cr_assert(steering_walk_next(&walk, &port));
		count[sl_from_be16(port)]++;
	}
	for (uint32_t port = 1024; port < 65536; port++) {
		double fair = (double)N / n_owned;

		if (owner(&reply, (uint16_t)port) == 3)
			cr_assert(count[port] > 0.6 * fair && count[port] < 1.6 * fair,
				  "port %u: %u, fair %.0f", port, count[port], fair);
		else
			cr_assert_eq(count[port], 0);
	}
}

Test(steering, what_no_card_has_is_refused_with_the_reason)
{
	memset(reta, 0, sizeof(reta));
	cr_assert_eq(steering_init(&steering, sl_toeplitz_key_microsoft, 39, reta, 128, 2, error),
		     -EINVAL);
	cr_assert_str_eq(error, "RSS key of 39 bytes: shorter than 40");
	cr_assert_eq(steering_init(&steering, sl_toeplitz_key_microsoft, 40, reta, 100, 2, error),
		     -EINVAL);
	cr_assert_str_eq(error, "redirection table of 100 entries: not a power of two up to 2048");
	cr_assert_eq(steering_init(&steering, sl_toeplitz_key_microsoft, 40, reta, 0, 2, error),
		     -EINVAL);
	cr_assert_eq(steering_init(&steering, sl_toeplitz_key_microsoft, 40, reta, 4096, 2, error),
		     -EINVAL);
	cr_assert_eq(steering_init(&steering, sl_toeplitz_key_microsoft, 40, reta, 128, 0, error),
		     -EINVAL);
	cr_assert_str_eq(error, "0 workers: not between 1 and 256");
	reta[5] = 2;
	cr_assert_eq(steering_init(&steering, sl_toeplitz_key_microsoft, 40, reta, 128, 2, error),
		     -EINVAL);
	cr_assert_str_eq(error, "redirection table entry 5: no worker 2 of 2");
}
