/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Measures the slot tables that maglev_fill() makes: balance, disruption when one backend of N
 * leaves, time to fill. Prints the table of docs/maglev.md, or JSON with --json.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sluice/limits.h>
#include <sluice/tables.h>

#include "dataplane/maglev_fill.h"

enum {
	N_REMOVALS = 30,
	N_FILLS = 15,
};

struct result {
	size_t n;
	double imbalance_max;   /* largest share over the fair one, less 1 */
	double imbalance_min;   /* 1 less the smallest share over the fair one */
	double disruption_mean; /* slots of staying backends that move, of all slots */
	double disruption_max;
	double fill_ms;
};

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int compare_double(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

static void fill(const struct maglev_backend *backend, size_t n, uint16_t *slot)
{
	const struct sl_hash_key key = {{0x0123456789abcdefull, 0xfedcba9876543210ull}};

	if (maglev_fill(&key, backend, n, slot, SL_DEFAULT_SLOTS) != 0) {
		fprintf(stderr, "maglev_bench: fill failed\n");
		exit(1);
	}
}

static void measure_balance(const uint16_t *slot, struct result *result)
{
	uint32_t *count = calloc(result->n, sizeof(*count));
	double fair = (double)SL_DEFAULT_SLOTS / (double)result->n;

	for (uint32_t i = 0; i < SL_DEFAULT_SLOTS; i++)
		count[slot[i]]++;
	for (size_t i = 0; i < result->n; i++) {
		double over = count[i] / fair - 1;

		if (over > result->imbalance_max)
			result->imbalance_max = over;
		if (-over > result->imbalance_min)
			result->imbalance_min = -over;
	}
	free(count);
}

static void measure_disruption(struct maglev_backend *backend, const uint16_t *before,
			       uint16_t *after, struct result *result)
{
	for (size_t r = 0; r < N_REMOVALS; r++) {
		size_t gone = r * result->n / N_REMOVALS;
		uint32_t moved = 0;
		double share;

		backend[gone].weight = 0;
		fill(backend, result->n, after);
		backend[gone].weight = 1;
		for (uint32_t i = 0; i < SL_DEFAULT_SLOTS; i++)
			moved += before[i] != gone && before[i] != after[i];
		share = (double)moved / SL_DEFAULT_SLOTS;
		result->disruption_mean += share / N_REMOVALS;
		if (share > result->disruption_max)
			result->disruption_max = share;
	}
}

static struct result measure(size_t n)
{
	struct maglev_backend *backend = calloc(n, sizeof(*backend));
	uint16_t *before = malloc(SL_DEFAULT_SLOTS * sizeof(*before));
	uint16_t *after = malloc(SL_DEFAULT_SLOTS * sizeof(*after));
	struct result result = {.n = n};
	double took[N_FILLS];

	for (size_t i = 0; i < n; i++) {
		backend[i].family = SL_FAMILY_IPV4;
		backend[i].protocol = SL_PROTOCOL_TCP;
		backend[i].addr.ipv4 = sl_to_be32(0x0a000002u + (uint32_t)i);
		backend[i].port = SL_BE16(8080);
		backend[i].weight = 1;
	}
	for (int i = 0; i < N_FILLS; i++) {
		double start = now_ms();

		fill(backend, n, before);
		took[i] = now_ms() - start;
	}
	qsort(took, N_FILLS, sizeof(*took), compare_double);
	result.fill_ms = took[N_FILLS / 2];
	measure_balance(before, &result);
	measure_disruption(backend, before, after, &result);
	free(backend);
	free(before);
	free(after);
	return result;
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {3, 10, 100, 500, 655};
	bool is_json = argc > 1 && strcmp(argv[1], "--json") == 0;

	if (is_json)
		printf("[");
	else
		printf("| backends | most loaded | least loaded | moved, mean of 30 | moved, most "
		       "| "
		       "fill, median |\n|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < SL_ARRAY_LEN(sizes); i++) {
		struct result r = measure(sizes[i]);

		if (is_json)
			printf("%s{\"backends\":%zu,\"imbalance_max\":%.5f,\"imbalance_min\":%.5f,"
			       "\"disruption_mean\":%.5f,\"disruption_max\":%.5f,\"fill_ms\":%.3f}",
			       i > 0 ? "," : "", r.n, r.imbalance_max, r.imbalance_min,
			       r.disruption_mean, r.disruption_max, r.fill_ms);
		else
			printf("| %zu | +%.2f %% | -%.2f %% | %.2f %% | %.2f %% | %.2f ms |\n", r.n,
			       r.imbalance_max * 100, r.imbalance_min * 100,
			       r.disruption_mean * 100, r.disruption_max * 100, r.fill_ms);
	}
	if (is_json)
		printf("]\n");
	return 0;
}
