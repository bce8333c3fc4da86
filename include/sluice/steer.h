/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What the classifier of AF_XDP ports (bpf/classify.bpf.c) and the engine that fills its map
 * (dataplane/dpdk/classifier.c) must agree on.
 */
#pragma once

#include <sluice/base.h>

#define SL_CLASSIFIER_PROGRAM "sl_classify"
#define SL_CLASSIFIER_MAP     "steered"
#define SL_CLASSIFIER_INSIDE  "inside"
#define SL_BALANCER_PROGRAM   "sl_balance" /* the XDP engine's, which may stand in the way */

enum {
	SL_MAX_STEERED = 262144,   /* addresses; above SL_MAX_SERVICES + SL_MAX_BACKENDS */
	SL_STEER_DESTINATION = 1,  /* frames to this address: a service's */
	SL_STEER_SOURCE = 2,       /* frames from this address: a backend's */
	SL_STEER_ECHO = 4,         /* echo to this address, too: a source's of mode snat */
	SL_STEER_PREFIX_BITS = 32, /* of a key of prefixes, before those of the address */
};

/** Clients of mode snat: frames from them are steered, echo among them. */
struct sl_steer_prefix {
	uint32_t length; /* SL_STEER_PREFIX_BITS and the prefix's, bits */
	uint32_t family; /* enum sl_family */
	union sl_addr addr;
};

struct sl_steer_key {
	union sl_addr addr;
	uint32_t family; /* enum sl_family */
};

_Static_assert(sizeof(struct sl_steer_prefix) == 24, "no padding in a map's key");
_Static_assert(sizeof(struct sl_steer_key) == 20, "no padding in a map's key");
