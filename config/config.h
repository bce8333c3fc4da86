/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The configuration file, as sluiced, the dataplanes and `sluice check` read it: parsed with
 * libyaml, held against the schema, judged whole. Every refusal names file, line and column, the
 * object, the value and the limit. Pure but for reading the file; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <sluice/base.h>
#include <sluice/limits.h>
#include <sluice/wire.h>

#include "config/health_check.h"
#include "config/share.h"

enum {
	CONFIG_MAX_PATH = 80, /* bytes of a path; socket paths in run_dir fit */
	CONFIG_MAX_VDEV = 256,
	CONFIG_MAX_PROBLEMS = 20,
	CONFIG_MAX_TEXT = 640,
	CONFIG_MAX_NODES = 2000000,
};

/** Where an object stands in its file; zero for what did not come from one. */
struct config_mark {
	uint32_t line;
	uint32_t column;
};

struct config_problem {
	char text[CONFIG_MAX_TEXT]; /* "FILE:LINE:COL: path: what is wrong" */
	bool is_warning;
};

struct config_problems {
	size_t n;
	size_t n_errors; /* all of them, also those that are not kept */
	struct config_problem problem[CONFIG_MAX_PROBLEMS];
};

enum config_engine {
	CONFIG_ENGINE_AUTO = 0,
	CONFIG_ENGINE_DPDK,
	CONFIG_ENGINE_XDP,
};

enum config_port_kind {
	CONFIG_PORT_INTERFACE = 1,
	CONFIG_PORT_PCI,
	CONFIG_PORT_VDEV,
};

enum config_hugepages {
	CONFIG_HUGEPAGES_AUTO = 0,
	CONFIG_HUGEPAGES_ON,
	CONFIG_HUGEPAGES_OFF,
};

struct config_port {
	struct config_mark mark;
	uint8_t kind; /* enum config_port_kind */
	char device[CONFIG_MAX_VDEV];
	char kernel_interface[16];
};

struct config_backend {
	struct config_mark mark;
	struct wire_backend wire;
	struct share_part part;
};

/** What the record of a source address does not say. */
struct config_source {
	struct config_mark mark;
	uint8_t family;
};

/** A prefix in a list of a service's; in which, the record says. */
struct config_listed {
	struct config_mark mark;
	struct wire_listed wire;
};

struct config_service {
	struct config_mark mark;
	struct wire_service wire;
	struct config_source source[SL_MAX_SOURCES_PER_SERVICE]; /* beside wire.source */
	struct config_backend *backend;
	size_t n_backends;
	struct health_check check;
	struct share_canary canary;
	struct config_mark canary_mark;
	struct config_listed *listed; /* in the order of wire_compare_listed() once it was loaded */
	size_t n_listed;
	bool is_judged; /* its own rules are known to hold: backend[] and listed[] are not read */
};

struct config {
	char run_dir[CONFIG_MAX_PATH];
	char state_dir[CONFIG_MAX_PATH];
	char user[64];
	char group[64];
	char api_group[64];           /* may change; empty: group */
	char api_read_only_group[64]; /* may read; empty: nobody */
	char metrics_listen[64];
	uint8_t health_exec; /* 1: checks may be programs */
	uint8_t engine;      /* enum config_engine */
	uint8_t hugepages;   /* enum config_hugepages */
	uint8_t telemetry;   /* 1: DPDK's telemetry socket is opened */
	uint32_t n_workers;
	uint32_t max_workers;     /* 0: to be chosen */
	int core[SL_MAX_WORKERS]; /* -1: to be chosen */
	uint32_t n_flows;
	uint32_t n_affinities;
	uint32_t memory_mb;             /* 0: to be computed */
	uint32_t idle_sleep_us;         /* 0: workers poll all the time */
	char flow_log[CONFIG_MAX_PATH]; /* the file that flows are logged to; empty: none is */
	bool has_hash_key;
	struct sl_hash_key hash_key;
	struct config_port port[SL_MAX_PORTS];
	size_t n_ports;
	struct config_service *service;
	size_t n_services;
};

/**
 * Reads and judges. @out: heap, the caller's, NULL on refusal. @problems: errors and warnings.
 * @name: how errors call the text. 0; -EINVAL: see @problems; -ENOMEM.
 */
int config_load_file(const char *path, struct config **out,
		     struct config_problems *problems) SL_MUST_USE;
int config_load_text(const char *name, const char *text, size_t length, struct config **out,
		     struct config_problems *problems) SL_MUST_USE;

/** What of a file a program uses. */
enum config_part {
	CONFIG_PART_ALL = 0,
	CONFIG_PART_DATAPLANE, /* run_dir, user, group and dataplane */
	CONFIG_PART_RUN_DIR,
};

/**
 * The same for a program that uses a part of the file: services are then held against YAML alone, for they can
 * be a hundred thousand lines. If nothing is wrong but what stands
 * elsewhere in it, the part is taken all the same: 0, with the errors in @problems, and @out has
 * defaults for all that is not of the part.
 */
int config_load_part(const char *path, enum config_part part, struct config **out,
		     struct config_problems *problems) SL_MUST_USE;

/** What a file that says nothing means. Heap, the caller's; NULL: out of memory. */
struct config *config_default(void);

void config_free(struct config *config);

/** All problems as lines of one text, cut at @size. */
void config_problems_text(const struct config_problems *problems, char *text, size_t size);

/**
 * The rules across services and backends: names, addresses, ranges, conflicts. The same for what
 * comes from a file and from the API. @name: the file's, or NULL for what has no position. Services
 * may be marked as judged if, since they were, no service came, went or has other addresses.
 * 0 or -EINVAL.
 */
int config_check_services(const char *name, const struct config_service *service, size_t n,
			  struct config_problems *problems) SL_MUST_USE;

/** YAML of @service, which loads back to the same. Heap, the caller's; NULL: out of memory. */
char *config_export(const struct config_service *service, size_t n);

/** "ADDR:PORT/tcp", "[ADDR]:PORT/udp", "PREFIX/LENGTH". @reason: out, static text of what is wrong. */
bool config_parse_service_address(const char *text, struct wire_address *address,
				  const char **reason);

/** "ADDR:PORT". @port: network order. */
bool config_parse_endpoint(const char *text, union sl_addr *addr, be16_t *port, uint8_t *family,
			   const char **reason);

/** "ADDR". */
bool config_parse_addr(const char *text, union sl_addr *addr, uint8_t *family, const char **reason);

/** "10.0.0.0/8", or "192.0.2.1" for an address alone. @length: bits. */
bool config_parse_prefix(const char *text, union sl_addr *addr, uint8_t *length, uint8_t *family,
			 const char **reason);

/**
 * Why the service at @service cannot have @listed, if its mode has such a list. Static text; NULL: it can.
 */
const char *config_judge_listed(const struct wire_address *service,
				const struct wire_listed *listed);

/** The modes that have @list, in words: "mode snat". */
const char *config_list_modes(uint8_t list);

/** "LOW-HIGH" or "PORT", 1 to 65535, host order. */
bool config_parse_ports(const char *text, uint16_t *first, uint16_t *last, const char **reason);

/** 1 to SL_MAX_NAME - 1 of A-Z a-z 0-9 . _ -, the first a letter or digit. */
bool config_is_name(const char *name);
