/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Measures how source ports are found: how evenly the ports fall into the classes of a card's hash,
 * and how many are tried until one is free. Prints the tables of docs/source-ports.md, or JSON with
 * --json. Nothing depends on time or machine: every run prints the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/limits.h>

#include "dataplane/steering.h"
#include "tests/unit/random.h"

enum {
	FIRST_PORT = 1024,
	LAST_PORT = 65535,
	N_PORTS = LAST_PORT - FIRST_PORT + 1,
	N_RANDOM_KEYS = 1000,
	N_WARM_ROUNDS = 10, /* every port is given back so often before the measurement */
	N_ATTEMPTS = 500000,
	RETA_SIZE = 512,
};

/* The classes of one key, or of many: then the least even one that has full rank. */
struct classes {
	const char *key;
	uint8_t family;
	uint32_t bits;
	uint32_t n_keys;
	uint32_t n_full; /* keys of full rank */
	uint32_t smallest;
	uint32_t largest;
};

struct probes {
	uint32_t use_percent;
	uint32_t n_workers;
	bool is_by_one; /* the step of the walks, for comparison */
	double mean;
	uint32_t p99;
	double refused;
};

static struct steering steering;
static bool is_json;
static const char *separator = "";

static void init(const uint8_t *key, uint32_t reta_size, uint32_t n_workers)
{
	static uint8_t reta[STEERING_MAX_RETA];
	char error[SL_MAX_ERROR];

	for (uint32_t i = 0; i < reta_size; i++)
		reta[i] = (uint8_t)(i % n_workers);
	if (steering_init(&steering, key, SL_TOEPLITZ_MIN_KEY_BYTES, reta, reta_size, n_workers,
			  error) != 0) {
		fprintf(stderr, "source_port_bench: %s\n", error);
		exit(1);
	}
}

static void add_key(struct classes *classes, const uint8_t *key)
{
	static uint32_t count[STEERING_MAX_RETA];
	const struct steering_ports *ports;

	init(key, 1u << classes->bits, 1);
	ports = classes->family == SL_FAMILY_IPV4 ? &steering.ports4 : &steering.ports6;
	classes->n_keys++;
	if (ports->rank != classes->bits)
		return;
	classes->n_full++;
	memset(count, 0, sizeof(count));
	for (uint32_t port = FIRST_PORT; port <= LAST_PORT; port++)
		count[sl_toeplitz_port(&steering.toeplitz, classes->family,
				       sl_to_be16((uint16_t)port)) &
		      steering.reta_mask]++;
	for (uint32_t low = 0; low <= steering.reta_mask; low++) {
		if (count[low] < classes->smallest)
			classes->smallest = count[low];
		if (count[low] > classes->largest)
			classes->largest = count[low];
	}
}

static void print_classes(const struct classes *c)
{
	double fair = (double)N_PORTS / (1u << c->bits);

	if (is_json) {
		printf("%s{\"key\":\"%s\",\"family\":%u,\"bits\":%u,\"keys\":%u,\"full_rank\":%u,"
		       "\"fair\":%.1f,\"smallest\":%u,\"largest\":%u}",
		       separator, c->key, c->family, c->bits, c->n_keys, c->n_full, fair,
		       c->smallest, c->largest);
		separator = ",";
		return;
	}
	printf("| %s | IPv%u | %u | %u of %u | %.1f | %u | %u |\n", c->key, c->family,
	       1u << c->bits, c->n_full, c->n_keys, fair, c->smallest, c->largest);
}

static void measure_classes(const char *name, const uint8_t *key)
{
	static const uint32_t bits[] = {7, 9, 11};
	struct random random = {0x5d1809c5};

	for (int i = 0; i < 2; i++) {
		for (size_t b = 0; b < SL_ARRAY_LEN(bits); b++) {
			struct classes classes = {
				.key = name,
				.family = i == 0 ? SL_FAMILY_IPV4 : SL_FAMILY_IPV6,
				.bits = bits[b],
				.smallest = UINT32_MAX,
			};

			for (int k = 0; key == NULL && k < N_RANDOM_KEYS; k++) {
				uint8_t random_key[SL_TOEPLITZ_MIN_KEY_BYTES];

				random_fill(&random, random_key, sizeof(random_key));
				add_key(&classes, random_key);
			}
			if (key != NULL)
				add_key(&classes, key);
			print_classes(&classes);
		}
	}
}

/* The ports of one pool address towards one backend. */
struct pair {
	struct sl_tuple reply;
	bool is_used[65536];
	uint16_t used[65536]; /* in no order */
	uint32_t n_used;
	struct random random;
};

static uint32_t random_below(struct pair *pair, uint32_t n)
{
	return (uint32_t)(((random_next(&pair->random) >> 32) * n) >> 32);
}

/* One new flow of a random worker. The ports tried, of which the last is taken; 0: refused. */
static uint32_t open_flow(struct pair *pair, bool is_by_one)
{
	uint32_t worker = random_below(pair, steering.n_workers);
	struct steering_walk walk;
	uint32_t n_tries = 0;
	be16_t port;

	steering_walk_begin(&walk, &steering, &pair->reply, worker, FIRST_PORT, LAST_PORT,
			    (uint32_t)(random_next(&pair->random) >> 32));
	if (is_by_one)
		walk.all.step = 1;
	while (steering_walk_next(&walk, &port)) {
		n_tries++;
		if (pair->is_used[port])
			continue;
		pair->is_used[port] = true;
		pair->used[pair->n_used++] = port;
		return n_tries;
	}
	return 0;
}

static void close_flow(struct pair *pair)
{
	uint32_t i = random_below(pair, pair->n_used);

	pair->is_used[pair->used[i]] = false;
	pair->used[i] = pair->used[--pair->n_used];
}

static void measure_probes(struct probes *probes)
{
	static struct pair pair;
	uint32_t target = (uint32_t)((uint64_t)N_PORTS * probes->use_percent / 100);
	uint32_t count[SL_SOURCE_PORT_TRIES + 1] = {0}; /* by tries; 0: refused */
	uint32_t n_found = 0;
	uint32_t n_below = 0;

	memset(&pair, 0, sizeof(pair));
	pair.random.state = 0x0123456789abcdefull;
	pair.reply.family = SL_FAMILY_IPV4;
	pair.reply.source.ipv4 = SL_BE32(0x0a000002);
	pair.reply.destination.ipv4 = SL_BE32(0x0a000101);
	pair.reply.source_port = SL_BE16(8080);
	init(sl_toeplitz_key_microsoft, RETA_SIZE, probes->n_workers);
	while (pair.n_used < target)
		open_flow(&pair, probes->is_by_one);
	for (uint32_t i = 0; i < N_WARM_ROUNDS * target; i++) {
		close_flow(&pair);
		while (open_flow(&pair, probes->is_by_one) == 0)
			;
	}
	for (uint32_t i = 0; i < N_ATTEMPTS; i++) {
		uint32_t n_tries = open_flow(&pair, probes->is_by_one);

		count[n_tries]++;
		if (n_tries != 0)
			close_flow(&pair);
	}
	for (uint32_t n = 1; n <= SL_SOURCE_PORT_TRIES; n++) {
		n_found += count[n];
		probes->mean += (double)n * count[n];
	}
	probes->mean /= n_found;
	probes->refused = (double)count[0] / N_ATTEMPTS;
	while (n_below < 0.99 * n_found)
		n_below += count[++probes->p99];
}

static void print_probes(const struct probes *p)
{
	/* What independent tries would be refused. */
	double independent = 1;

	for (int i = 0; i < SL_SOURCE_PORT_TRIES; i++)
		independent *= p->use_percent / 100.0;
	if (is_json) {
		printf("%s{\"use_percent\":%u,\"workers\":%u,\"by_one\":%s,\"mean\":%.3f,\"p99\":%"
		       "u,\"refused\":%.5f,\"independent\":%.5f}",
		       separator, p->use_percent, p->n_workers, p->is_by_one ? "true" : "false",
		       p->mean, p->p99, p->refused, independent);
		separator = ",";
		return;
	}
	printf("| %u %% | %u%s | %.2f | %u | %.3f %% | %.3f %% |\n", p->use_percent, p->n_workers,
	       p->is_by_one ? ", by one" : "", p->mean, p->p99, p->refused * 100,
	       independent * 100);
}

int main(int argc, char **argv)
{
	static const uint32_t uses[] = {10, 50, 90, 99};
	static const struct {
		uint32_t n_workers;
		bool is_by_one;
	} rows[] = {{1, false}, {4, false}, {8, false}, {1, true}};

	is_json = argc > 1 && strcmp(argv[1], "--json") == 0;
	if (is_json)
		printf("{\"classes\":[");
	else
		printf("| key | family | RETA | keys of full rank | fair | smallest class | "
		       "largest "
		       "class |\n|---|---|---|---|---|---|---|\n");
	measure_classes("Microsoft's", sl_toeplitz_key_microsoft);
	measure_classes("symmetric", sl_toeplitz_key_symmetric);
	measure_classes("random", NULL);
	separator = "";
	if (is_json)
		printf("],\"probes\":[");
	else
		printf("\n| in use | workers | tries, mean | tries, p99 | refused | of independent "
		       "tries |\n|---|---|---|---|---|---|\n");
	for (size_t u = 0; u < SL_ARRAY_LEN(uses); u++) {
		for (size_t r = 0; r < SL_ARRAY_LEN(rows); r++) {
			struct probes probes = {
				.use_percent = uses[u],
				.n_workers = rows[r].n_workers,
				.is_by_one = rows[r].is_by_one,
			};

			measure_probes(&probes);
			print_probes(&probes);
		}
	}
	if (is_json)
		printf("]}\n");
	return 0;
}
