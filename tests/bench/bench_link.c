/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Trials with a peer, and the search for its rate without loss: see bench_link.h. */
#include "tests/bench/bench_link.h"

#include <errno.h>
#include <string.h>

#include <rte_cycles.h>

#include "tests/bench/bench_report.h"

enum {
	SEARCH_STEPS = 7, /* 1 / 2^7 < 1 % */
};

int link_open(struct link *link, struct generator *generator, enum peer_kind kind,
	      const struct link_options *options)
{
	const struct stream_options stream = {.family = options->peer.family,
					      .is_fullnat = options->peer.is_fullnat,
					      .is_swapped = kind == PEER_TESTPMD,
					      .n_flows = options->peer.n_flows,
					      .n_backends = options->peer.n_backends};
	int status;

	*link = (struct link){.generator = generator, .is_realtime = options->is_realtime};
	status = peer_start(&link->peer, kind, &options->peer);
	if (status == 0)
		status = generator_connect(generator, link->peer.socket);
	if (status == 0)
		status = stream_open(&link->stream, &stream, link->peer.mac);
	if (status == 0)
		status = generator_learn(generator, &link->stream, false);
	if (status == 0) {
		stream_answer(&link->stream);
		status = generator_learn(generator, &link->stream, true);
	}
	if (status == 0) {
		stream_lay(&link->stream, options->is_mixed);
		generator_set_stream(generator, &link->stream);
		if (options->is_realtime)
			process_raise(&link->peer.dataplane);
	}
	if (status == -ETIMEDOUT && peer_is_alive(&link->peer))
		process_print_log(&link->peer.dataplane);
	return status;
}

void link_close(struct link *link)
{
	generator_disconnect(link->generator);
	peer_stop(&link->peer);
	stream_close(&link->stream);
}

int link_try(struct link *link, const struct trial *trial, struct trial_result *result)
{
	const char *name = peer_name((enum peer_kind)link->peer.kind);
	double peer_cpu = process_cpu_seconds(&link->peer.dataplane);
	uint64_t start = rte_rdtsc();
	int status;

	if (link->is_realtime)
		process_raise_thread(true);
	status = generator_try(link->generator, trial, result);
	if (link->is_realtime)
		process_raise_thread(false);
	link->peer_seconds += (double)(rte_rdtsc() - start) / (double)link->generator->tsc_hz;
	link->peer_cpu_seconds += process_cpu_seconds(&link->peer.dataplane) - peer_cpu;
	link->n_received += result->n_received;
	link->n_wrong += result->n_wrong;
	link->n_judged += result->n_judged;
	link->n_overtaken += result->n_overtaken;
	link->seconds += result->seconds;
	link->cpu_seconds += result->cpu_seconds;
	if (result->largest_gap_us > link->largest_gap_us)
		link->largest_gap_us = result->largest_gap_us;
	if (status != 0)
		return status;
	if (!peer_is_alive(&link->peer))
		return -ECHILD;
	if (result->n_wrong != 0) {
		report_error("%s: %llu frames are wrong; the first: %s", name,
			     (unsigned long long)result->n_wrong, link->generator->wrong);
		return -EPROTO;
	}
	return 0;
}

uint64_t link_n_lost(const struct trial_result *result)
{
	return result->n_offered > result->n_received ? result->n_offered - result->n_received : 0;
}

double link_loss_percent(const struct trial_result *result)
{
	return result->n_offered != 0
		       ? 100.0 * (double)link_n_lost(result) / (double)result->n_offered
		       : 0;
}

/* Whether @pps are forwarded whole, in one of several trials; *@offered is what there were of it. */
static int is_whole(struct link *link, struct search *search, double pps, double *offered)
{
	const struct trial trial = {.pps = pps, .seconds = search->seconds};
	struct trial_result result;

	for (uint32_t i = 0; i < search->n_tries; i++) {
		int status = link_try(link, &trial, &result);

		if (status != 0)
			return status;
		*offered = (double)result.n_offered / result.seconds;
		if ((double)link_n_lost(&result) * 1e6 <=
		    (double)result.n_offered * search->loss_ppm)
			return 1;
		search->n_repeated += i + 1 != search->n_tries;
	}
	return 0;
}

int link_search(struct link *link, struct search *search)
{
	double low = 0;
	double high = search->highest;
	double tried = search->highest;

	search->pps = 0;
	search->n_repeated = 0;
	/* 0 pps would be all that the link takes. */
	for (int i = 0; i <= SEARCH_STEPS && search->highest > 0; i++) {
		double offered = 0;
		int status;

		report_progress("%s: without loss, step %d, %.2f M/s",
				peer_name((enum peer_kind)link->peer.kind), i, tried / 1e6);
		status = is_whole(link, search, tried, &offered);
		if (status < 0)
			return status;
		if (status == 0) {
			high = tried;
		} else {
			low = tried;
			/* The generator may have been held up. */
			search->pps = offered > search->pps ? offered : search->pps;
		}
		if (low == high)
			break;
		tried = (low + high) / 2;
	}
	return 0;
}
