/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The PROXY protocol over whole connections. Two TCPs, simple but whole: handshake, retransmission, reassembly, SACK, keepalive
 * and zero-window probes, FIN; between them the balancer, and on both of its sides a network that
 * loses, repeats and reorders. All packets are frames with true checksums, verified at each end.
 * The senders never repeat what was SACKed, so a block translated wrongly leaves a hole for ever.
 */
#include <criterion/criterion.h>
#include <string.h>

#include <sluice/packet/nat.h>
#include <sluice/packet/proxy.h>

#include "tests/unit/proxy_frames.h"
#include "tests/unit/random.h"

enum {
	SIM_MSS = 48,
	SIM_BYTES = 700,
	SIM_FLIGHT = 256,
	SIM_TIMEOUT = 40,
	SIM_TICKS = 60000,
};

enum sim_state { SIM_CLOSED, SIM_LISTEN, SIM_SYN_SENT, SIM_SYN_RECEIVED, SIM_OPEN, SIM_RESET };

struct sim_end {
	const char *name;
	enum sim_state state;
	uint32_t tx_first; /* number of the first byte sent */
	uint32_t rx_first;
	uint32_t una;     /* bytes acknowledged, FIN included */
	uint32_t next;    /* bytes sent at least once, FIN included */
	uint32_t n_tx;    /* bytes to send; then FIN */
	uint32_t n_ready; /* of which the application gave so many so far */
	uint32_t n_rx;    /* bytes received in order */
	uint32_t window;  /* that the peer gave */
	uint32_t buffer;  /* that we give */
	uint32_t timer;
	uint32_t idle;
	uint8_t tx[SIM_BYTES];
	uint8_t rx[SIM_BYTES + 128];
	bool has[SIM_BYTES + 128];
	bool sacked[SIM_BYTES];
	bool is_finished; /* FIN may be sent */
	bool fin_known;
	uint32_t fin_at;
	bool has_fin;
	bool must_ack;
	bool probes_with_rubbish;
	bool never_probes;
	bool has_timestamps;
	uint32_t dsack_from;
	uint32_t dsack_to;
};

struct sim_frame {
	struct frame frame;
	uint32_t due;
	bool is_used;
	bool to_backend;
	bool is_past_balancer;
};

struct sim {
	struct random random;
	struct sim_end client;
	struct sim_end backend;
	struct sim_frame flight[SIM_FLIGHT];
	uint32_t n_flight; /* slots that were ever in use: the first ones */
	struct sl_proxy proxy;
	uint8_t family;
	uint32_t h;
	uint32_t now;
	uint32_t loss; /* of 256 */
	uint32_t repeat;
	uint32_t jitter;
	uint32_t run;
	uint32_t n_inserted;
	uint32_t due_last[4];
	bool is_in_order;
	bool loses_headers;
};

static uint32_t sim_draw(struct sim *sim, uint32_t n)
{
	return (uint32_t)(random_next(&sim->random) >> 16) % n;
}

static void sim_launch(struct sim *sim, const struct frame *frame, bool to_backend, bool is_past)
{
	uint32_t n = 1;

	if (sim_draw(sim, 256) < sim->loss)
		return;
	if (sim_draw(sim, 256) < sim->repeat)
		n = 2;
	for (uint32_t k = 0; k < SIM_FLIGHT && n > 0; k++) {
		struct sim_frame *slot = &sim->flight[k];
		uint32_t *last = &sim->due_last[to_backend * 2 + is_past];

		if (slot->is_used)
			continue;
		slot->frame = *frame;
		slot->due = sim->now + 1 + sim_draw(sim, sim->jitter);
		if (sim->is_in_order) {
			slot->due = slot->due > *last ? slot->due : *last + 1;
			*last = slot->due;
		}
		slot->is_used = true;
		sim->n_flight = k < sim->n_flight ? sim->n_flight : k + 1;
		slot->to_backend = to_backend;
		slot->is_past_balancer = is_past;
		n--;
	}
}

/* Writes a SACK option of @limit edges at most, a repetition first; the bytes it has. */
static size_t sim_sack(struct sim_end *end, uint8_t *option, size_t limit)
{
	uint32_t edges[8];
	size_t n = 0;

	if (end->dsack_from != end->dsack_to) {
		edges[n++] = end->rx_first + end->dsack_from;
		edges[n++] = end->rx_first + end->dsack_to;
		end->dsack_from = end->dsack_to = 0;
	}
	for (uint32_t k = end->n_rx; k < sizeof(end->has) && n < limit; k++) {
		uint32_t from = k;

		if (!end->has[k])
			continue;
		while (k < sizeof(end->has) && end->has[k])
			k++;
		edges[n++] = end->rx_first + from;
		edges[n++] = end->rx_first + k;
	}
	if (n == 0)
		return 0;
	option[0] = 5;
	option[1] = (uint8_t)(2 + 4 * n);
	for (size_t k = 0; k < n; k++)
		put32(option + 2 + 4 * k, edges[k]);
	return 2 + 4 * n;
}

static size_t sim_options(struct sim *sim, struct sim_end *end, bool is_syn, uint8_t *options)
{
	size_t n = 0;

	memset(options, 1, 40);
	if (is_syn) {
		memcpy(options, (const uint8_t[]){2, 4, 5, 0xb4, 34, 2, 30, 4, 0, 1}, 10);
		return 12;
	}
	if (end->has_timestamps) {
		memcpy(options, (const uint8_t[]){1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, 12);
		n = 12;
	}
	n += sim_draw(sim, 2); /* at an even or an odd place */
	n += sim_sack(end, options + n, end->has_timestamps ? 4 : 6);
	return (n + 3) / 4 * 4;
}

static void sim_send(struct sim *sim, struct sim_end *end, uint8_t flags, uint32_t sequence,
		     const uint8_t *payload, uint32_t n_payload)
{
	uint8_t options[40];
	size_t n_options = sim_options(sim, end, flags & SL_TCP_SYN, options);
	uint32_t acknowledgement = end->rx_first + end->n_rx + end->has_fin;
	struct frame frame;

	if (flags & SL_TCP_RST)
		n_options = 0;
	frame = tcp_frame(sim->family, flags, sequence, flags & SL_TCP_ACK ? acknowledgement : 0,
			  options, n_options, payload, n_payload);
	frame.bytes[frame.l4 + 14] = (uint8_t)(end->buffer >> 8);
	frame.bytes[frame.l4 + 15] = (uint8_t)end->buffer;
	if (end == &sim->backend) {
		uint8_t ports[4];

		memcpy(ports, frame.bytes + frame.l4, 4);
		memcpy(frame.bytes + frame.l4, ports + 2, 2);
		memcpy(frame.bytes + frame.l4 + 2, ports, 2);
	}
	frame_finish(&frame);
	end->must_ack = false;
	sim_launch(sim, &frame, end == &sim->client, false);
}

/* Sends the segment that begins with byte @at, or FIN. */
static void sim_send_data(struct sim *sim, struct sim_end *end, uint32_t at, uint32_t limit)
{
	uint32_t n = 0;
	uint8_t flags = SL_TCP_ACK;

	while (at + n < end->n_ready && n < SIM_MSS && n < limit && !end->sacked[at + n])
		n++;
	if (at + n == end->n_tx && end->is_finished && n < limit)
		flags |= SL_TCP_FIN;
	sim_send(sim, end, flags, end->tx_first + at, end->tx + at, n);
	if (at + n + !!(flags & SL_TCP_FIN) > end->next)
		end->next = at + n + !!(flags & SL_TCP_FIN);
}

static void sim_tick(struct sim *sim, struct sim_end *end)
{
	uint32_t all = end->n_ready + (end->is_finished && end->n_ready == end->n_tx);

	end->timer++;
	end->idle++;
	if (end->state == SIM_SYN_SENT || end->state == SIM_SYN_RECEIVED) {
		if (end->timer >= SIM_TIMEOUT) {
			end->timer = 0;
			sim_send(sim, end,
				 end->state == SIM_SYN_SENT ? SL_TCP_SYN : SL_TCP_SYN | SL_TCP_ACK,
				 end->tx_first - 1, NULL, 0);
		}
		return;
	}
	if (end->state != SIM_OPEN)
		return;
	if (end->una < end->next && end->timer >= SIM_TIMEOUT) {
		uint32_t at = end->una;

		/* Everything the peer does not have; the window may have shrunk to a probe. */
		end->timer = 0;
		for (int n = 0; n < 4 && at < end->next; n++) {
			while (at < end->n_tx && end->sacked[at])
				at++;
			if (at >= end->next)
				break;
			sim_send_data(sim, end, at, end->window != 0 ? SIM_MSS : 1);
			at += SIM_MSS;
		}
		return;
	}
	if (end->next < all && sim_draw(sim, 3) == 0) {
		uint32_t in_flight = end->next - end->una;

		if (in_flight < end->window) {
			if (end->una == end->next)
				end->timer = 0;
			sim_send_data(sim, end, end->next, end->window - in_flight);
			return;
		}
	}
	if (!end->never_probes && end->idle > 3 * SIM_TIMEOUT && end->una == end->next) {
		bool has_rubbish = end->probes_with_rubbish && sim_draw(sim, 2);

		/* Keepalive, or a probe of the window. */
		end->idle = 0;
		sim_send(sim, end, SL_TCP_ACK, end->tx_first + end->una - 1, (const uint8_t *)"?",
			 has_rubbish);
		return;
	}
	if (end->must_ack && sim_draw(sim, 2))
		sim_send(sim, end, SL_TCP_ACK, end->tx_first + end->next, NULL, 0);
}

static void sim_take_options(struct sim *sim, struct sim_end *end, const uint8_t *tcp)
{
	size_t n = (size_t)(tcp[12] >> 4) * 4;
	bool is_syn = tcp[13] & SL_TCP_SYN;

	for (size_t at = 20; at < n && tcp[at] != 0;) {
		if (tcp[at] == 1) {
			at++;
			continue;
		}
		cr_assert(tcp[at] != 34 && tcp[at] != 30, "run %u: unwanted option", sim->run);
		if (tcp[at] == 2 && end == &sim->client)
			cr_assert_eq(tcp[at + 2] << 8 | tcp[at + 3], 1460 - (int)sim->h);
		for (size_t k = at + 2; !is_syn && tcp[at] == 5 && k < at + tcp[at + 1]; k += 8) {
			uint32_t from = get32(tcp + k) - end->tx_first;
			uint32_t to = get32(tcp + k + 4) - end->tx_first;

			/* Blocks below what is acknowledged, or empty, tell a sender nothing. */
			if ((int32_t)from < (int32_t)end->una || (int32_t)to <= (int32_t)from)
				continue;
			cr_assert_leq(to, end->next, "run %u: SACK of what was not sent", sim->run);
			for (uint32_t byte = from; byte < to && byte < end->n_tx; byte++)
				end->sacked[byte] = true;
		}
		at += tcp[at + 1];
	}
}

static void sim_take_bytes(struct sim *sim, struct sim_end *end, const uint8_t *tcp,
			   uint32_t n_payload)
{
	const uint8_t *payload = tcp + (size_t)(tcp[12] >> 4) * 4;
	int32_t from = (int32_t)(get32(tcp + 4) - end->rx_first);
	uint32_t limit = end->n_rx + end->buffer;

	if (from < (int32_t)end->n_rx && n_payload != 0 && from >= 0) {
		end->dsack_from = (uint32_t)from;
		end->dsack_to = (uint32_t)from + n_payload < end->n_rx ? (uint32_t)from + n_payload
								       : end->n_rx;
	}
	for (uint32_t k = 0; k < n_payload; k++) {
		int32_t at = from + (int32_t)k;

		/* Behind FIN stands nothing but a keepalive's rubbish. */
		if (end->has_fin || at < (int32_t)end->n_rx || (uint32_t)at >= limit ||
		    (uint32_t)at >= sizeof(end->rx))
			continue;
		if (end->has[at])
			cr_assert_eq(end->rx[at], payload[k], "run %u: %s has two bytes %d",
				     sim->run, end->name, at);
		end->rx[at] = payload[k];
		end->has[at] = true;
	}
	if (tcp[13] & SL_TCP_FIN) {
		int32_t at = from + (int32_t)n_payload;

		if (end->fin_known)
			cr_assert_eq((uint32_t)at, end->fin_at, "run %u: %s, FIN at %d", sim->run,
				     end->name, at);
		end->fin_known = true;
		end->fin_at = (uint32_t)at;
	}
	while (end->n_rx < sizeof(end->has) && end->has[end->n_rx])
		end->n_rx++;
	if (end->fin_known && end->n_rx == end->fin_at)
		end->has_fin = true;
	if (n_payload != 0 || (tcp[13] & SL_TCP_FIN) || from < (int32_t)end->n_rx)
		end->must_ack = true;
}

static void sim_take_reset(struct sim *sim, struct sim_end *end, uint32_t sequence)
{
	uint32_t ahead = sequence - (end->rx_first + end->n_rx + end->has_fin);

	if (ahead == 0)
		end->state = SIM_RESET;
	else if (ahead < 0xffff) /* RFC 5961 3.2 */
		sim_send(sim, end, SL_TCP_ACK, end->tx_first + end->next, NULL, 0);
}

static void sim_take(struct sim *sim, struct sim_end *end, const struct frame *frame)
{
	const uint8_t *tcp = frame->bytes + frame->l4;
	uint8_t flags = tcp[13];
	uint32_t sequence = get32(tcp + 4);
	uint32_t acknowledgement = get32(tcp + 8);
	size_t n_ip = frame->length - frame->l4 - (size_t)(tcp[12] >> 4) * 4;

	cr_assert_eq(frame_l4_sum(frame), 0xffff, "run %u: checksum", sim->run);
	if (end->state == SIM_LISTEN && flags == SL_TCP_SYN) {
		end->state = SIM_SYN_RECEIVED;
		end->rx_first = sequence + 1;
		end->timer = SIM_TIMEOUT;
		sim_take_options(sim, end, tcp);
		return;
	}
	if (end->state == SIM_CLOSED && !(flags & SL_TCP_RST) && (flags & SL_TCP_ACK)) {
		sim_send(sim, end, SL_TCP_RST, acknowledgement, NULL, 0);
		return;
	}
	if (end->state == SIM_SYN_SENT && (flags & SL_TCP_SYN) && (flags & SL_TCP_ACK) &&
	    acknowledgement == end->tx_first) {
		end->state = SIM_OPEN;
		end->rx_first = sequence + 1;
		end->window = (uint32_t)(tcp[14] << 8 | tcp[15]);
		sim_take_options(sim, end, tcp);
		sim_send(sim, end, SL_TCP_ACK, end->tx_first, NULL, 0);
		return;
	}
	if (end->state != SIM_OPEN && end->state != SIM_SYN_RECEIVED)
		return;
	if (flags & SL_TCP_SYN) {
		end->must_ack = true;
		return;
	}
	if (flags & SL_TCP_RST) {
		sim_take_reset(sim, end, sequence);
		return;
	}
	if (!(flags & SL_TCP_ACK))
		return;
	if (end->state == SIM_SYN_RECEIVED) {
		if ((int32_t)(sequence - end->rx_first) < 0)
			return;
		end->state = SIM_OPEN;
	}
	if ((int32_t)(acknowledgement - end->tx_first - end->next) > 0)
		cr_assert_fail("run %u: %s: acknowledged what was not sent", sim->run, end->name);
	if ((int32_t)(acknowledgement - end->tx_first - end->una) > 0) {
		end->una = acknowledgement - end->tx_first;
		end->timer = 0;
	}
	if ((int32_t)(acknowledgement - end->tx_first - end->una) >= 0)
		end->window = (uint32_t)(tcp[14] << 8 | tcp[15]);
	end->idle = 0;
	sim_take_options(sim, end, tcp);
	sim_take_bytes(sim, end, tcp, (uint32_t)n_ip);
}

static void sim_balance(struct sim *sim, struct sim_frame *slot)
{
	struct frame frame = slot->frame;
	struct sl_packet packet;
	uint32_t sequence;

	cr_assert_eq(frame_parse(&frame, &packet), SL_VERDICT_NONE);
	if (!slot->to_backend) {
		sl_proxy_reply(&sim->proxy, &packet, sl_proxy_options(&packet));
		sim_launch(sim, &frame, false, true);
		return;
	}
	switch (sl_proxy_forward(&sim->proxy, &packet, &sequence)) {
	case SL_PROXY_PASS:
		break;
	case SL_PROXY_SYN:
		sl_proxy_syn(&packet, sl_proxy_options(&packet), 0);
		break;
	case SL_PROXY_SHIFT:
		sl_proxy_shift(&packet, sequence);
		break;
	case SL_PROXY_INSERT:
		cr_assert(insert(&frame, &packet, sequence));
		sl_proxy_sent(&sim->proxy);
		sim->n_inserted++;
		if (sim->loses_headers && sim_draw(sim, 2))
			return;
		break;
	case SL_PROXY_REFUSE:
	case SL_N_PROXY_ACTIONS:
		cr_assert_fail("run %u: refused", sim->run);
	}
	sim_launch(sim, &frame, true, true);
}

static void sim_deliver(struct sim *sim)
{
	for (uint32_t k = 0; k < sim->n_flight; k++) {
		struct sim_frame slot;

		if (!sim->flight[k].is_used || sim->flight[k].due > sim->now)
			continue;
		slot = sim->flight[k];
		sim->flight[k].is_used = false;
		if (!slot.is_past_balancer)
			sim_balance(sim, &slot);
		else
			sim_take(sim, slot.to_backend ? &sim->backend : &sim->client, &slot.frame);
	}
}

static void sim_start(struct sim *sim, uint32_t run, uint64_t seed)
{
	memset(sim, 0, sizeof(*sim));
	sim->run = run;
	sim->random.state = seed * 2654435761u + (uint64_t)run * 0x9e3779b97f4a7c15u + 1;
	sim->family = families[run & 1];
	sim->h = sl_proxy_length(sim->family);
	sim->proxy.phase = SL_PROXY_OPENING;
	sim->client.name = "client";
	sim->backend.name = "backend";
	sim->client.state = SIM_SYN_SENT;
	sim->client.timer = SIM_TIMEOUT;
	sim->backend.state = SIM_LISTEN;
	/* Now and then numbers wrap within the header or the stream. */
	sim->client.tx_first = sim_draw(sim, 2) ? (uint32_t)random_next(&sim->random)
						: (uint32_t)sim_draw(sim, 200) - 100;
	sim->backend.tx_first = (uint32_t)random_next(&sim->random);
	sim->client.buffer = sim->backend.buffer = 1000;
	sim->jitter = 1 + sim_draw(sim, 30);
	random_fill(&sim->random, sim->client.tx, SIM_BYTES);
	random_fill(&sim->random, sim->backend.tx, SIM_BYTES);
	sim->client.has_timestamps = sim_draw(sim, 2);
	sim->backend.has_timestamps = sim_draw(sim, 2);
	sim->client.probes_with_rubbish = sim_draw(sim, 2);
	sim->backend.never_probes = sim_draw(sim, 2);
}

/* What the applications do: who speaks first, when, and small or shut windows for a while. */
static void sim_applications(struct sim *sim, uint32_t kind, uint32_t shut_until)
{
	bool has_header = sim->backend.n_rx >= sim->h;
	bool has_greeting = sim->client.n_rx != 0 || sim->client.has_fin;

	sim->backend.buffer = sim->now < shut_until ? (kind & 4 ? 0 : 20) : 1000;
	/* A backend of this protocol waits for the header before it says a word. */
	if (has_header) {
		sim->backend.n_ready = sim->backend.n_tx;
		sim->backend.is_finished = true;
	}
	if (!(kind & 1) || has_greeting) {
		sim->client.n_ready = sim->client.n_tx;
		sim->client.is_finished = true;
	}
}

static bool sim_is_done(const struct sim *sim)
{
	return sim->client.una == sim->client.n_tx + 1 &&
	       sim->backend.una == sim->backend.n_tx + 1 && sim->client.has_fin &&
	       sim->backend.has_fin;
}

Test(proxy_stream, streams_arrive_whole_through_loss_repetition_and_reordering)
{
	static struct sim sim;
	uint64_t n_inserted = 0;
	uint32_t longest = 0;

	for (uint32_t run = 0; run < 10000; run++) {
		uint32_t kind;
		uint32_t shut_until;
		uint8_t addresses[32];
		struct frame any;

		sim_start(&sim, run, 11);
		kind = sim_draw(&sim, 8);
		sim.loss = sim_draw(&sim, 4) ? sim_draw(&sim, 100) : 0;
		sim.repeat = sim_draw(&sim, 60);
		sim.client.n_tx = sim_draw(&sim, 4) ? sim_draw(&sim, SIM_BYTES) : 0;
		sim.backend.n_tx = sim_draw(&sim, 4) ? sim_draw(&sim, SIM_BYTES) : 0;
		shut_until = kind & 2 ? sim_draw(&sim, 600) : 0;
		sim_applications(&sim, kind, shut_until);
		for (; sim.now < SIM_TICKS && !sim_is_done(&sim); sim.now++) {
			sim_applications(&sim, kind, shut_until);
			sim_deliver(&sim);
			sim_tick(&sim, &sim.client);
			sim_tick(&sim, &sim.backend);
		}
		cr_assert(sim_is_done(&sim),
			  "run %u kind %u: client %u/%u rx %u, backend %u/%u rx %u, phase %u", run,
			  kind, sim.client.una, sim.client.n_tx, sim.client.n_rx, sim.backend.una,
			  sim.backend.n_tx, sim.backend.n_rx, sim.proxy.phase);
		any = frame_make(sim.family, SL_PROTOCOL_TCP, 0);
		memcpy(addresses, any.bytes + 14 + (sim.family == 4 ? 12 : 8),
		       sim.family == 4 ? 8 : 32);
		cr_assert_eq(read_header(sim.backend.rx, sim.backend.n_rx, sim.family,
					 SL_PROTOCOL_TCP, addresses, 40000, 80),
			     sim.h, "run %u", run);
		cr_assert_eq(sim.backend.n_rx, sim.h + sim.client.n_tx, "run %u", run);
		cr_assert_arr_eq(sim.backend.rx + sim.h, sim.client.tx, sim.client.n_tx, "run %u",
				 run);
		cr_assert_eq(sim.client.n_rx, sim.backend.n_tx, "run %u", run);
		cr_assert_arr_eq(sim.client.rx, sim.backend.tx, sim.backend.n_tx, "run %u", run);
		n_inserted += sim.n_inserted;
		longest = sim.now > longest ? sim.now : longest;
	}
	fprintf(stderr, "# %llu headers in 10000 connections, the longest of %u ticks\n",
		(unsigned long long)n_inserted, longest);
}

/* A client that gives up right after the handshake, or a little later: the backend must hear it. */
Test(proxy_stream, resets_end_the_connection_at_the_backend)
{
	static struct sim sim;

	for (uint32_t run = 0; run < 4000; run++) {
		uint32_t left;

		sim_start(&sim, run, 12);
		sim.is_in_order = true;
		sim.loses_headers = run % 4 == 0;
		sim.backend.never_probes = true;
		sim.client.n_tx = sim_draw(&sim, 2) ? 0 : sim_draw(&sim, 200);
		sim.client.n_ready = sim.client.n_tx;
		left = sim_draw(&sim, 60);
		for (; sim.now < SIM_TICKS && sim.backend.state != SIM_RESET; sim.now++) {
			sim_deliver(&sim);
			if (sim.client.state == SIM_OPEN && left-- == 0) {
				sim.client.state = SIM_CLOSED;
				sim_send(&sim, &sim.client, SL_TCP_RST,
					 sim.client.tx_first + sim.client.next, NULL, 0);
			}
			sim_tick(&sim, &sim.client);
			sim_tick(&sim, &sim.backend);
		}
		cr_assert_eq(sim.backend.state, SIM_RESET, "run %u: state %d, phase %u", run,
			     (int)sim.backend.state, sim.proxy.phase);
	}
}
