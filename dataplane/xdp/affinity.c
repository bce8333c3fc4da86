/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The program's map of clients that keep their backend, as the agent reads and clears it. */
#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dataplane/explain.h"
#include "dataplane/xdp/engine.h"
#include "dataplane/xdp/skeleton.h"
#include "log/log.h"

enum {
	READ_AT_ONCE = 4096, /* entries; above what one of the kernel's buckets ever has */
};

/** Some entries of the map, and where the next ones stand. */
struct page {
	struct sl_xdp_affinity key[READ_AT_ONCE];
	uint64_t word[READ_AT_ONCE];
	uint32_t n;
	uint32_t next;
	bool is_last;
};

/* Reads the next entries; those that a program moves meanwhile may be missed. False: there are no more. */
static bool page_read(const struct dataplane *dataplane, struct page *page)
{
	bool is_first = page->n == 0;
	uint32_t from = page->next;
	int status;

	if (page->is_last)
		return false;
	page->n = READ_AT_ONCE;
	status = bpf_map_lookup_batch(bpf_map__fd(dataplane->bpf->maps.affinities),
				      is_first ? NULL : &from, &page->next, page->key, page->word,
				      &page->n, NULL);
	page->is_last = status != 0;
	if (status != 0 && status != -ENOENT) {
		log_warn("affinities: %s", strerror(-status));
		return false;
	}
	return page->n > 0;
}

static bool is_of_service(const struct dataplane *dataplane, const struct sl_xdp_affinity *key)
{
	const struct snapshot *snapshot = dataplane->snapshot;

	return snapshot != NULL && key->service < snapshot->n_services &&
	       snapshot->service[key->service].family != SL_FAMILY_NONE &&
	       snapshot->service[key->service].epoch == key->epoch;
}

uint64_t dataplane_count_affinities(struct dataplane *dataplane, uint32_t *n)
{
	static struct page page;
	uint32_t now = engine_now();
	uint64_t n_live = 0;

	for (page = (struct page){.n = 0}; page_read(dataplane, &page);)
		for (uint32_t i = 0; i < page.n; i++) {
			if (sl_affinity_left(page.word[i], now) == 0)
				continue;
			n_live++;
			if (n != NULL && is_of_service(dataplane, &page.key[i]))
				n[page.key[i].service]++;
		}
	return n_live;
}

uint32_t dataplane_clear_affinities(struct dataplane *dataplane, uint32_t service)
{
	int map = bpf_map__fd(dataplane->bpf->maps.affinities);
	static struct page page;
	uint32_t now = engine_now();
	uint32_t n = 0;

	for (page = (struct page){.n = 0}; page_read(dataplane, &page);)
		for (uint32_t i = 0; i < page.n; i++)
			if (page.key[i].service == service &&
			    bpf_map_delete_elem(map, &page.key[i]) == 0)
				n += sl_affinity_left(page.word[i], now) != 0;
	return n;
}

uint64_t engine_find_affinity(struct dataplane *dataplane, uint32_t service,
			      const struct sl_tuple *tuple, uint32_t *left)
{
	const struct snapshot *snapshot = dataplane->snapshot;
	const struct sl_xdp_affinity key = {
		.service = (uint16_t)service,
		.epoch = snapshot->service[service].epoch,
		.prefix = sl_affinity_prefix(&tuple->source,
					     snapshot->affinity[service].prefix_length)};
	uint64_t word = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(dataplane->bpf->maps.affinities), &key, &word) != 0)
		word = 0;
	*left = sl_affinity_left(word, engine_now());
	return *left != 0 ? word : 0;
}
