/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The thread between ports and their TAPs, so that workers need no system calls: it writes what
 * workers punted to the TAP, and reads the kernel's frames for the worker that sends them. Rings
 * bound both ways; what does not fit is dropped and counted where the worker stands (to the
 * kernel) or left to the kernel's own queue (from it).
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_lcore.h>

#include "dataplane/dpdk/engine.h"
#include "log/log.h"

enum {
	PUNT_BURST = 32,
	LIVELY_POLL_MS =
		1, /* how long a punted frame may wait for a sleeping thread, if there were others just now */
	LIVELY_POLLS = 100, /* without a frame; then it is rung for */
};

struct punt {
	struct dataplane *dataplane;
	pthread_t thread;
	bool is_stopping;
};

static bool to_kernel(struct port *port)
{
	struct rte_mbuf *packet[PUNT_BURST];
	unsigned int n = rte_ring_dequeue_burst(port->to_kernel, (void **)packet, PUNT_BURST, NULL);

	for (unsigned int i = 0; i < n; i++) {
		/* A TAP that is down or full refuses: the frame is lost as on any busy link. */
		ssize_t written = write(port->tap, rte_pktmbuf_mtod(packet[i], void *),
					rte_pktmbuf_data_len(packet[i]));

		(void)written;
		rte_pktmbuf_free(packet[i]);
	}
	return n != 0;
}

static bool from_kernel(struct dataplane *dataplane, struct port *port)
{
	bool is_busy = false;

	for (int i = 0; i < PUNT_BURST && !rte_ring_full(port->from_kernel); i++) {
		struct rte_mbuf *packet = rte_pktmbuf_alloc(dataplane->pool);
		ssize_t n;

		if (packet == NULL)
			break;
		n = read(port->tap, rte_pktmbuf_mtod(packet, void *), rte_pktmbuf_tailroom(packet));
		if (n <= 0) {
			rte_pktmbuf_free(packet);
			break;
		}
		packet->data_len = (uint16_t)n;
		packet->pkt_len = (uint32_t)n;
		packet->port = port->id;
		if (rte_ring_enqueue(port->from_kernel, packet) != 0)
			rte_pktmbuf_free(packet);
		is_busy = true;
	}
	return is_busy;
}

static bool has_punted(const struct dataplane *dataplane)
{
	bool is_any = false;

	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		is_any |= !rte_ring_empty(dataplane->port[i].to_kernel);
	return is_any;
}

/* Until there is something from either side. @poller: of the TAPs, and behind them of the bell. */
static void wait_for_bell(struct dataplane *dataplane, struct pollfd *poller)
{
	bell_await(&dataplane->punted);
	if (!has_punted(dataplane))
		poll(poller, dataplane->n_ports + 1, -1);
	(void)bell_answer(&dataplane->punted);
}

static void *punt_main(void *argument)
{
	struct punt *punt = argument;
	struct dataplane *dataplane = punt->dataplane;
	struct pollfd poller[SL_MAX_PORTS + 1];
	uint32_t n_idle = 0;

	rte_thread_register();
	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		poller[i] = (struct pollfd){.fd = dataplane->port[i].tap, .events = POLLIN};
	poller[dataplane->n_ports] = (struct pollfd){.fd = dataplane->punted.fd, .events = POLLIN};
	while (!__atomic_load_n(&punt->is_stopping, __ATOMIC_ACQUIRE)) {
		bool is_busy = false;

		for (uint32_t i = 0; i < dataplane->n_ports; i++) {
			is_busy |= to_kernel(&dataplane->port[i]);
			is_busy |= from_kernel(dataplane, &dataplane->port[i]);
		}
		n_idle = is_busy ? 0 : n_idle + 1;
		if (n_idle > LIVELY_POLLS)
			wait_for_bell(dataplane, poller);
		else if (n_idle > 0)
			poll(poller, dataplane->n_ports, LIVELY_POLL_MS);
	}
	rte_thread_unregister();
	return NULL;
}

int punt_start(struct dataplane *dataplane, char *error)
{
	struct punt *punt = calloc(1, sizeof(*punt));
	int status;

	if (punt == NULL)
		return -ENOMEM;
	punt->dataplane = dataplane;
	status = bell_open(&dataplane->punted);
	if (status != 0) {
		free(punt);
		return status;
	}
	status = pthread_create(&punt->thread, NULL, punt_main, punt);
	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "punt thread: %s", strerror(status));
		bell_close(&dataplane->punted);
		free(punt);
		return -status;
	}
	dataplane->punt = punt;
	return 0;
}

void punt_move(struct dataplane *dataplane, const cpu_set_t *cores)
{
	if (dataplane->punt != NULL)
		(void)pthread_setaffinity_np(dataplane->punt->thread, sizeof(*cores), cores);
}

void punt_stop(struct dataplane *dataplane)
{
	struct punt *punt = dataplane->punt;

	if (punt == NULL)
		return;
	__atomic_store_n(&punt->is_stopping, true, __ATOMIC_RELEASE);
	bell_wake(&dataplane->punted);
	pthread_join(punt->thread, NULL);
	bell_close(&dataplane->punted);
	free(punt);
	dataplane->punt = NULL;
}
