/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Records in the order in which they arrive: see bench_sequence.h. */
#include "tests/bench/bench_sequence.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>

#include "tests/bench/bench_report.h"

enum {
	STRIDE = 982451653, /* a prime: multiples of it modulo n go through all of a smaller n */
	N_BETWEEN_REPORTS = 1 << 18,
};

static const double ZIPF_EXPONENT = 1.1;

struct draw {
	uint64_t state;
	uint32_t n_flows;
	enum sequence_order order;
	double *sum; /* Zipf: of the weights up to each rank */
};

/* xorshift64*, Vigna 2016. */
static uint64_t draw_next(struct draw *draw)
{
	draw->state ^= draw->state >> 12;
	draw->state ^= draw->state << 25;
	draw->state ^= draw->state >> 27;
	return draw->state * 2685821657736338717ull;
}

static uint32_t draw_below(struct draw *draw, uint32_t n)
{
	return (uint32_t)((draw_next(draw) >> 32) * n >> 32);
}

static int draw_open(struct draw *draw, const struct sequence_options *options)
{
	double sum = 0;

	*draw = (struct draw){.state = 0x9e3779b97f4a7c15ull ^ options->seed,
			      .n_flows = options->n_flows,
			      .order = options->order};
	if (options->order != SEQUENCE_ZIPF)
		return 0;
	draw->sum = malloc(options->n_flows * sizeof(*draw->sum));
	if (draw->sum == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < options->n_flows; i++) {
		sum += pow(i + 1.0, -ZIPF_EXPONENT);
		draw->sum[i] = sum;
	}
	return 0;
}

/* The rank whose part of the sum a random number falls into. */
static uint32_t draw_rank(struct draw *draw)
{
	double wanted = (double)(draw_next(draw) >> 11) * 0x1p-53 * draw->sum[draw->n_flows - 1];
	uint32_t low = 0;
	uint32_t high = draw->n_flows - 1;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (draw->sum[middle] < wanted)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint32_t draw_flow(struct draw *draw, uint32_t i)
{
	switch (draw->order) {
	case SEQUENCE_UNIFORM:
		return draw_below(draw, draw->n_flows);
	case SEQUENCE_ZIPF:
		/* Frequent flows do not lie side by side. */
		return (uint32_t)((uint64_t)draw_rank(draw) * STRIDE % draw->n_flows);
	case SEQUENCE_ONCE:
		break;
	}
	return i % draw->n_flows;
}

/* Flows that are left out have their turn taken by others. */
static uint32_t draw_present(struct draw *draw, const struct traffic *traffic, uint32_t first,
			     uint32_t i)
{
	uint32_t flow = first + draw_flow(draw, i);

	while (traffic->way != NULL && traffic->way[flow].is_left_out)
		flow = first + draw_below(draw, draw->n_flows);
	return flow;
}

int sequence_new(struct sequence *sequence, const struct traffic *traffic,
		 const struct sequence_options *options)
{
	size_t record_bytes = traffic_record_bytes(traffic);
	enum sequence_mix mix = options->mix;
	uint32_t n = options->n;
	struct draw draw;
	int status = draw_open(&draw, options);

	if (status != 0)
		return status;
	sequence->n = n;
	sequence->n_bytes = n * record_bytes;
	sequence->record = mmap(NULL, sequence->n_bytes, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (sequence->record == MAP_FAILED) {
		free(draw.sum);
		return -ENOMEM;
	}
	/* Large pages, so that the port misses no translations. */
	madvise(sequence->record, sequence->n_bytes, MADV_HUGEPAGE);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t flow = draw_present(&draw, traffic, options->first, i);
		uint8_t *record = sequence->record + i * record_bytes;

		if (mix == SEQUENCE_REPLY || (mix == SEQUENCE_MIXED && draw_next(&draw) >> 63))
			traffic_reply(traffic, flow, record);
		else
			traffic_forward(traffic, flow, record);
		if (i % N_BETWEEN_REPORTS == 0)
			report_progress("drawing packets, %u of %u", i, n);
	}
	free(draw.sum);
	return 0;
}

void sequence_free(struct sequence *sequence)
{
	if (sequence->record != NULL)
		munmap(sequence->record, sequence->n_bytes);
	sequence->record = NULL;
}
