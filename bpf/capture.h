// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Copyright (c) 2026 The Sluice authors */
/*
 * Copies of packets for a capture, as dataplane/dpdk/capture.c makes them: one is set aside as it comes,
 * and once the story has its verdict goes to the agent, if the filter takes it. None of this runs while
 * no capture is on.
 */
#pragma once

#include "story.h"

static __always_inline struct sl_xdp_capture *this_capture(void)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(&captures, &zero);
}

/* How many bytes of the frame are copied to @capture. */
static __always_inline uint32_t copy_frame(struct xdp_md *ctx, struct sl_xdp_capture *capture)
{
	long length = (long)ctx->data_end - (long)ctx->data;
	uint32_t n;

	barrier_var(length);
	n = (uint32_t)length < capture_order.snaplen ? (uint32_t)length : capture_order.snaplen;
	capture->record.length = (uint32_t)length;
	capture->record.n_bytes = 0;
	/* Two bounds, one after the other: of both in one verifiers before Linux 6.2 make nothing. */
	n = sl_hide(n);
	if (n > SL_CAPTURE_MAX_BYTES)
		return 0;
	n = sl_hide(n);
	if (n < sizeof(struct sl_ethernet) || bpf_xdp_load_bytes(ctx, 0, capture->bytes, n) != 0)
		return 0;
	capture->record.n_bytes = (uint16_t)n;
	return n;
}

/** Sets the frame aside as it comes. Returns nothing of use. */
__noinline int capture_stage(struct xdp_md *ctx)
{
	const struct sl_xdp_port *from = port_of(ctx->ingress_ifindex);
	struct sl_xdp_capture *capture = this_capture();
	struct sl_xdp_cpu *cpu = this_cpu();

	if (capture == NULL || cpu == NULL)
		return 0;
	capture->is_staged = from != NULL;
	if (from == NULL)
		return 0;
	cpu->concluded = SL_VERDICT_NONE;
	__builtin_memset(&capture->record, 0, sizeof(capture->record));
	capture->record.stamp = bpf_ktime_get_ns();
	capture->record.port = (uint8_t)from->index;
	sl_capture_read((void *)(long)ctx->data, (void *)(long)ctx->data_end, &capture->record.in);
	return (int)copy_frame(ctx, capture);
}

/* Gives the agent the copy, of which @n bytes are there. */
static __always_inline void capture_put(struct sl_xdp_capture *capture, uint32_t n)
{
	uint32_t zero = 0;
	void *ring = bpf_map_lookup_elem(&copies, &zero);
	uint32_t port = capture->record.port;
	uint64_t *n_lost;

	n = sl_hide(n);
	if (ring != NULL && n <= SL_CAPTURE_MAX_BYTES &&
	    bpf_ringbuf_output(ring, &capture->record, sizeof(capture->record) + n,
			       BPF_RB_NO_WAKEUP) == 0)
		return;
	n_lost = bpf_map_lookup_elem(&capture_lost, &port);
	if (n_lost != NULL)
		(*n_lost)++;
}

/** The frame has its verdict, and @action is what the kernel is to do with it. */
__noinline int capture_finish(struct xdp_md *ctx, int action)
{
	struct sl_xdp_capture *capture = this_capture();
	const struct sl_xdp_cpu *cpu = this_cpu();
	bool is_sent = action == XDP_TX || action == XDP_REDIRECT;
	struct sl_capture_record *record;

	if (capture == NULL || cpu == NULL || !capture->is_staged)
		return 0;
	capture->is_staged = 0;
	record = &capture->record;
	record->verdict = (uint8_t)cpu->concluded;
	record->direction = SL_CAPTURE_IN;
	if (is_sent)
		sl_capture_read((void *)(long)ctx->data, (void *)(long)ctx->data_end, &record->out);
	if (!sl_capture_matches(&capture_order.filter, record))
		return 0;
	if (sl_capture_is_seen(&capture_order.filter, record))
		capture_put(capture, record->n_bytes);
	if (!is_sent)
		return 0;
	/* An answer goes back by the port that the frame came by. */
	if (!sl_verdict_is_drop(record->verdict))
		record->port = (uint8_t)(cpu->concluded >> SL_XDP_CONCLUDED_PORT);
	record->direction = SL_CAPTURE_OUT;
	if (sl_capture_is_seen(&capture_order.filter, record))
		capture_put(capture, copy_frame(ctx, capture));
	return 0;
}

/** The last word of a program about a frame. */
static __always_inline int tell(struct xdp_md *ctx, int action)
{
	if (SL_UNLIKELY(control.is_capturing))
		(void)!capture_finish(ctx, action);
	return action;
}
