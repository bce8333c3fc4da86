/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Captures of the XDP engine: while one is on, the programs put copies into a ring of the kernel's that
 * exists only as long, and this process takes them out when it is asked for them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <sluice/packet/capture.h>

#include "dataplane/xdp/engine.h"
#include "dataplane/xdp/skeleton.h"

enum {
	RING_BYTES = 8 << 20, /* of all CPUs */
};

#define SECOND_NS 1000000000ull

/* Who is shown the copies of the call under way. */
struct taking {
	dataplane_copy_visitor *visit;
	void *context;
	uint64_t offset_ns; /* from CLOCK_MONOTONIC to 1970 */
	bool goes_on;
};

struct capture {
	int map; /* the ring's */
	struct ring_buffer *ring;
	struct taking taking;
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static int on_copy(void *context, void *data, size_t size)
{
	struct taking *taking = &((struct capture *)context)->taking;
	const struct sl_capture_record *record = data;
	const struct dataplane_copy copy = {
		.record = record,
		.bytes = (const uint8_t *)(record + 1),
		.time_ns = record->stamp + taking->offset_ns,
	};

	if (size < sizeof(*record) || size - sizeof(*record) < record->n_bytes)
		return 0;
	taking->goes_on = taking->visit(taking->context, &copy);
	return taking->goes_on ? 0 : -ECANCELED;
}

static int forget_lost(const struct dataplane *dataplane)
{
	uint64_t *none = calloc(dataplane->n_cpus, sizeof(*none));
	int status = none == NULL ? -ENOMEM : 0;

	for (uint32_t i = 0; i < SL_MAX_PORTS && status == 0; i++)
		if (bpf_map_update_elem(bpf_map__fd(dataplane->bpf->maps.capture_lost), &i, none,
					0) != 0)
			status = -errno;
	free(none);
	return status;
}

static int open_ring(const struct dataplane *dataplane, struct capture *capture)
{
	uint32_t zero = 0;

	capture->map = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "sl_copies", 0, 0, RING_BYTES, NULL);
	if (capture->map < 0)
		return -errno;
	capture->ring = ring_buffer__new(capture->map, on_copy, capture, NULL);
	if (capture->ring == NULL)
		return -errno;
	if (bpf_map_update_elem(bpf_map__fd(dataplane->bpf->maps.copies), &zero, &capture->map,
				0) != 0)
		return -errno;
	return forget_lost(dataplane);
}

int dataplane_capture_begin(struct dataplane *dataplane, const struct sl_capture_filter *filter,
			    uint32_t snaplen, char *error)
{
	struct sl_xdp_capture_order *order = &dataplane->bpf->data_capture->capture_order;
	int status = -ENOMEM;

	dataplane->capture = calloc(1, sizeof(*dataplane->capture));
	if (dataplane->capture != NULL) {
		dataplane->capture->map = -1;
		status = open_ring(dataplane, dataplane->capture);
	}
	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "a ring of %d bytes: %s", RING_BYTES,
			 strerror(-status));
		dataplane_capture_end(dataplane);
		return status;
	}
	order->filter = *filter;
	order->snaplen = snaplen;
	/* Release: the order is whole before a program reads it. */
	__atomic_store_n(&dataplane->control->is_capturing, 1, __ATOMIC_RELEASE);
	return 0;
}

bool dataplane_capture_take(struct dataplane *dataplane, dataplane_copy_visitor *visit,
			    void *context)
{
	struct taking *taking = &dataplane->capture->taking;

	*taking = (struct taking){
		.visit = visit,
		.context = context,
		.offset_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC),
		.goes_on = true,
	};
	(void)!ring_buffer__consume(dataplane->capture->ring);
	return taking->goes_on;
}

uint64_t dataplane_capture_lost(struct dataplane *dataplane, uint32_t port)
{
	uint64_t n_lost[SL_XDP_MAX_CPUS];
	uint64_t n = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(dataplane->bpf->maps.capture_lost), &port, n_lost) != 0)
		return 0;
	for (uint32_t i = 0; i < dataplane->n_cpus; i++)
		n += n_lost[i];
	return n;
}

void dataplane_capture_stop(struct dataplane *dataplane)
{
	uint32_t zero = 0;

	__atomic_store_n(&dataplane->control->is_capturing, 0, __ATOMIC_RELEASE);
	/* The kernel returns when no program reads the ring any more. */
	(void)!bpf_map_delete_elem(bpf_map__fd(dataplane->bpf->maps.copies), &zero);
}

void dataplane_capture_end(struct dataplane *dataplane)
{
	if (dataplane->capture == NULL)
		return;
	dataplane_capture_stop(dataplane);
	ring_buffer__free(dataplane->capture->ring);
	if (dataplane->capture->map >= 0)
		close(dataplane->capture->map);
	free(dataplane->capture);
	dataplane->capture = NULL;
}
