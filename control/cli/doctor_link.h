/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* One interface, as ethtool and netlink know it. What the driver does not tell is unknown. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum doctor_answer {
	DOCTOR_UNSAID = 0,
	DOCTOR_NO,
	DOCTOR_YES,
};

enum doctor_xdp_mode {
	DOCTOR_XDP_NONE = 0, /* no program */
	DOCTOR_XDP_NATIVE,
	DOCTOR_XDP_GENERIC,
	DOCTOR_XDP_OTHER, /* on the card, or several */
};

struct doctor_link {
	char driver[32];   /* empty: not told */
	uint8_t is_native; /* enum doctor_answer: the driver runs XDP programs itself */
	uint8_t is_target; /* frames may be redirected to it now */
	uint8_t has_lro;
	uint8_t has_gro;
	uint8_t strips_vlan;
	uint8_t hashes_udp_ports; /* of UDP over IPv4 */
	uint8_t hashes_tcp_ports;
	uint32_t n_queues;     /* receive queues in use; 0: not told */
	uint32_t n_max_queues; /* that there may be; 0: not told */
	uint32_t n_spread;     /* queues that the table of the hash leads to; 0: not told */
	uint8_t xdp_mode;      /* enum doctor_xdp_mode */
	uint32_t xdp_id;       /* of the program that is attached */
	char xdp_name[32];     /* empty: not told, only root is */
};

/** Asks about the interface @name of this namespace. 0 or a negative errno. */
int doctor_link_read(const char *name, struct doctor_link *link);
