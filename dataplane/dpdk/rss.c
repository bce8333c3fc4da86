/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Receive side scaling: each card is asked for our key and our redirection table, and then asked what
 * it has; only that counts, and only after packets have shown it. Ports whose cards do otherwise are
 * steered in software alone: what arrives at the wrong worker is handed to the owner of its flow, as
 * it is on every port, only more often.
 *
 * Control thread, but for rss_refute().
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>

#include "dataplane/dpdk/engine.h"
#include "dataplane/dpdk/rss.h"
#include "log/log.h"

enum {
	PAUSE_MS = 100,     /* frames that the former table spread have then long been received */
	N_TO_CHECK = 65536, /* packets of each port, by each worker, where there are few flows */
	N_TO_SEE = 32, /* hashes, told apart by six bits: by chance a card is right (1/queues)^32 */
	MAX_KEY_BYTES = 64,
	MAX_GROUPS = STEERING_MAX_RETA / RTE_ETH_RETA_GROUP_SIZE,
	MAX_DRAINED = 256, /* bursts of each queue */
};

/* Without these a flow's two ends of the balancer are not hashed alike. */
static const uint64_t NEEDED = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP |
			       RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
/* Spreads what has no ports. Types "EX" are left out: they hash addresses of extension headers. */
static const uint64_t WELCOME =
	RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6;

/* What a card says that it has. */
struct answer {
	uint8_t key[MAX_KEY_BYTES];
	uint8_t key_bytes;
	uint8_t reta[STEERING_MAX_RETA];
	uint32_t reta_size;
	uint64_t types;
};

void rss_configure(const struct dataplane *dataplane, struct port *port,
		   const struct rte_eth_dev_info *info, struct rte_eth_conf *config)
{
	struct rte_eth_rss_conf *rss = &config->rx_adv_conf.rss_conf;

	if (port->n_queues < 2 || (info->flow_type_rss_offloads & (NEEDED | WELCOME)) == 0)
		return;
	port->rss.is_configured = true;
	config->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	config->rxmode.offloads |= info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH;
	rss->rss_hf = info->flow_type_rss_offloads & (NEEDED | WELCOME);
	/* A card with another size of key keeps its own. */
	if (info->hash_key_size >= SL_TOEPLITZ_MIN_KEY_BYTES &&
	    info->hash_key_size <= sizeof(dataplane->steering_key)) {
		port->rss.key_bytes = info->hash_key_size;
		memcpy(port->rss.key, dataplane->steering_key, info->hash_key_size);
		rss->rss_key = port->rss.key;
		rss->rss_key_len = info->hash_key_size;
	}
}

static int read_reta(const struct port *port, struct answer *answer)
{
	struct rte_eth_rss_reta_entry64 group[MAX_GROUPS];
	int status;

	memset(group, 0, sizeof(group));
	for (uint32_t i = 0; i < answer->reta_size; i++)
		group[i / RTE_ETH_RETA_GROUP_SIZE].mask |= 1ull << i % RTE_ETH_RETA_GROUP_SIZE;
	status = rte_eth_dev_rss_reta_query(port->id, group, (uint16_t)answer->reta_size);
	for (uint32_t i = 0; i < answer->reta_size && status == 0; i++) {
		uint16_t queue =
			group[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];

		if (queue >= port->n_queues)
			return -ERANGE;
		answer->reta[i] = (uint8_t)queue;
	}
	return status;
}

static bool is_striped(const struct answer *answer, uint32_t n_workers)
{
	for (uint32_t i = 0; i < answer->reta_size; i++)
		if (answer->reta[i] != i % n_workers)
			return false;
	return true;
}

/* What arrived under the former table would be judged by the present one. */
static void drain(const struct port *port)
{
	struct rte_mbuf *packet[BURST_SIZE];

	for (uint16_t queue = 0; queue < port->n_queues; queue++)
		for (int i = 0; i < MAX_DRAINED; i++) {
			uint16_t n = rte_eth_rx_burst(port->id, queue, packet, BURST_SIZE);

			if (n == 0)
				break;
			rte_pktmbuf_free_bulk(packet, n);
		}
}

/* Queues without entries are those of workers that do not run. */
static int stripe(const struct port *port, uint32_t reta_size, uint32_t n_workers)
{
	struct rte_eth_rss_reta_entry64 group[MAX_GROUPS];

	memset(group, 0, sizeof(group));
	for (uint32_t i = 0; i < reta_size; i++) {
		group[i / RTE_ETH_RETA_GROUP_SIZE].mask |= 1ull << i % RTE_ETH_RETA_GROUP_SIZE;
		group[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] =
			(uint16_t)(i % n_workers);
	}
	return rte_eth_dev_rss_reta_update(port->id, group, (uint16_t)reta_size);
}

/* NULL, or why the card cannot be asked. */
static const char *ask(const struct port *port, struct answer *answer, uint32_t n_workers)
{
	struct rte_eth_rss_conf conf = {.rss_key = answer->key, .rss_key_len = MAX_KEY_BYTES};
	struct rte_eth_dev_info info;
	int status;

	if (rte_eth_dev_info_get(port->id, &info) != 0)
		return "the driver says nothing of itself";
	answer->reta_size = info.reta_size;
	if (answer->reta_size == 0 || answer->reta_size > STEERING_MAX_RETA ||
	    (answer->reta_size & (answer->reta_size - 1)) != 0)
		return "the redirection table has no size that we know";
	status = read_reta(port, answer);
	if (status == -ERANGE || (status == 0 && !is_striped(answer, n_workers))) {
		status = stripe(port, answer->reta_size, n_workers);
		if (status == 0) {
			drain(port);
			status = read_reta(port, answer);
		}
	}
	if (status != 0)
		return "the redirection table cannot be read";
	if (rte_eth_dev_rss_hash_conf_get(port->id, &conf) != 0)
		return "the key cannot be read";
	answer->types = conf.rss_hf;
	/* Drivers that leave the length alone have filled what the card has. */
	answer->key_bytes = conf.rss_key_len == MAX_KEY_BYTES && info.hash_key_size != 0
				    ? info.hash_key_size
				    : conf.rss_key_len;
	if (answer->key_bytes > MAX_KEY_BYTES)
		return "the key is too long";
	if ((answer->types & NEEDED) != NEEDED)
		return "it does not hash the ports of TCP and UDP over IPv4 and IPv6";
	return NULL;
}

/* NULL, or why the card does not steer as the workers' ownership has it. */
static const char *agree(struct dataplane *dataplane, struct port *port, struct answer *answer,
			 char *error)
{
	struct steering *said;
	const char *reason = ask(port, answer, dataplane->n_workers);

	if (reason != NULL)
		return reason;
	said = calloc(1, sizeof(*said));
	if (said == NULL)
		return "out of memory";
	if (steering_init(said, answer->key, answer->key_bytes, answer->reta, answer->reta_size,
			  dataplane->n_workers, error) != 0) {
		reason = error;
	} else if (!dataplane->is_steering_cards) {
		/* The first card decides, be it with our key or with one that it insists on. */
		*dataplane->steering = *said;
		dataplane->is_steering_cards = true;
	} else if (!rss_is_alike(dataplane->steering, said)) {
		reason = "its key and table are not the other ports'";
	}
	free(said);
	return reason;
}

static bool wants_all(void)
{
	const char *value = getenv("SLUICE_CHECK_STEERING");

	return value != NULL && strcmp(value, "all") == 0;
}

void rss_open(struct dataplane *dataplane, struct port *port)
{
	char error[SL_MAX_ERROR] = "";
	struct answer *answer;
	const char *reason;

	if (port->n_queues < 2)
		return;
	if (!port->rss.is_configured) {
		log_info("port %s: %u queues, steered in software: %s has no RSS",
			 port->options.name, port->n_queues, port->driver);
		return;
	}
	answer = calloc(1, sizeof(*answer));
	reason = answer == NULL ? "out of memory" : agree(dataplane, port, answer, error);
	if (reason != NULL) {
		log_warn("port %s: %u queues, steered in software: RSS of %s: %s",
			 port->options.name, port->n_queues, port->driver, reason);
	} else {
		bool is_ours = port->rss.key_bytes == answer->key_bytes &&
			       memcmp(port->rss.key, answer->key, answer->key_bytes) == 0;

		port->rss.key_bytes = answer->key_bytes;
		memcpy(port->rss.key, answer->key, answer->key_bytes);
		port->rss.is_checking_all = wants_all();
		port->rss.n_to_check = port->rss.is_checking_all ? UINT64_MAX : N_TO_CHECK;
		port->rss.state = RSS_TRUSTED;
		log_info("port %s: %u of %u queues, steered by RSS: %s key of %u bytes, table of "
			 "%u entries",
			 port->options.name, dataplane->n_workers, port->n_queues,
			 is_ours ? "our" : "the card's", answer->key_bytes, answer->reta_size);
	}
	free(answer);
}

void rss_refute(struct port *port, const struct rss_witness *witness)
{
	uint8_t state = RSS_TRUSTED;

	if (!__atomic_compare_exchange_n(&port->rss.state, &state, RSS_REFUTING, false,
					 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	port->rss.witness = *witness;
	/* Release: the witness is whole before the control thread looks at it. */
	__atomic_store_n(&port->rss.state, RSS_REFUTED, __ATOMIC_RELEASE);
}

static void say_refuted(const struct port *port)
{
	const struct rss_witness *witness = &port->rss.witness;
	int family = witness->tuple.family == SL_FAMILY_IPV4 ? AF_INET : AF_INET6;
	char source[INET6_ADDRSTRLEN] = "?";
	char destination[INET6_ADDRSTRLEN] = "?";
	char hash[32] = "no hash";

	inet_ntop(family, &witness->tuple.source, source, sizeof(source));
	inet_ntop(family, &witness->tuple.destination, destination, sizeof(destination));
	if (witness->has_hash)
		snprintf(hash, sizeof(hash), "hash 0x%08x", witness->hash);
	log_warn(
		"port %s: steered in software: %s does not do what its key and table say: a packet "
		"from %s port %u to %s port %u came with %s to worker %u; by our hash, 0x%08x, it "
		"is "
		"worker %u's",
		port->options.name, port->driver, source, sl_from_be16(witness->tuple.source_port),
		destination, sl_from_be16(witness->tuple.destination_port), hash, witness->worker,
		witness->our_hash, witness->our_worker);
}

static void settle(struct port *port)
{
	port->rss.is_settled = true;
	if (!port->rss.is_checking_all)
		__atomic_store_n(&port->rss.n_to_check, 0, __ATOMIC_RELAXED);
}

static void supervise(const struct dataplane *dataplane, struct port *port, uint32_t index)
{
	/* Acquire: see rss_refute(). */
	uint8_t state = __atomic_load_n(&port->rss.state, __ATOMIC_ACQUIRE);
	uint64_t n_checked = 0;
	uint64_t seen = 0;

	if (state == RSS_REFUTED) {
		say_refuted(port);
		settle(port);
	}
	if (state != RSS_TRUSTED || port->rss.is_said)
		return;
	for (uint32_t i = 0; i < dataplane->n_opened; i++) {
		const struct worker *worker = dataplane->worker[i];

		n_checked += __atomic_load_n(&worker->n_checked[index], __ATOMIC_RELAXED);
		seen |= __atomic_load_n(&worker->hashes_seen[index], __ATOMIC_RELAXED);
	}
	if (__builtin_popcountll(seen) < N_TO_SEE)
		return;
	log_info("port %s: RSS verified: %lu packets of %d flows or more came where key and table "
		 "say",
		 port->options.name, (unsigned long)n_checked, __builtin_popcountll(seen));
	port->rss.is_said = true;
	if (!port->rss.is_checking_all)
		settle(port);
}

void rss_pause(struct dataplane *dataplane)
{
	for (uint32_t i = 0; i < dataplane->n_ports; i++) {
		struct rss *rss = &dataplane->port[i].rss;

		if (rss->resume_tsc == 0)
			rss->paused_to_check = rss->n_to_check;
		rss->resume_tsc = UINT64_MAX;
		__atomic_store_n(&rss->n_to_check, 0, __ATOMIC_RELAXED);
	}
}

/* Whether the card has the table of @steering now. */
static bool follow(const struct port *port, const struct steering *steering)
{
	struct answer *answer = calloc(1, sizeof(*answer));
	bool has_it = false;

	if (answer == NULL)
		return false;
	answer->reta_size = steering->reta_mask + 1;
	if (stripe(port, answer->reta_size, steering->n_workers) == 0 &&
	    read_reta(port, answer) == 0)
		has_it = memcmp(answer->reta, steering->reta[0], answer->reta_size) == 0;
	free(answer);
	return has_it;
}

void rss_follow(struct dataplane *dataplane)
{
	uint64_t resume_tsc = rte_rdtsc() + rte_get_tsc_hz() * PAUSE_MS / 1000;

	for (uint32_t i = 0; i < dataplane->n_ports; i++) {
		struct port *port = &dataplane->port[i];
		uint8_t state = RSS_TRUSTED;

		port->rss.resume_tsc = resume_tsc;
		if (__atomic_load_n(&port->rss.state, __ATOMIC_RELAXED) != RSS_TRUSTED ||
		    follow(port, dataplane->steering))
			continue;
		log_warn("port %s: steered in software: %s did not take the table of %u workers",
			 port->options.name, port->driver, dataplane->n_workers);
		/* A worker that refutes it has the last word, which is the same. */
		(void)__atomic_compare_exchange_n(&port->rss.state, &state, RSS_NONE, false,
						  __ATOMIC_RELAXED, __ATOMIC_RELAXED);
		port->rss.paused_to_check = 0;
	}
}

static void resume(struct port *port)
{
	if (port->rss.resume_tsc == 0 || rte_rdtsc() < port->rss.resume_tsc)
		return;
	port->rss.resume_tsc = 0;
	__atomic_store_n(&port->rss.n_to_check, port->rss.paused_to_check, __ATOMIC_RELAXED);
}

void rss_supervise(struct dataplane *dataplane)
{
	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		resume(&dataplane->port[i]);
	for (uint32_t i = 0; i < dataplane->n_ports; i++)
		if (!dataplane->port[i].rss.is_settled)
			supervise(dataplane, &dataplane->port[i], i);
}
