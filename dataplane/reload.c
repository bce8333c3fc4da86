/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/reload.h"

#include <string.h>

#include "dataplane/dataplane.h"
#include "log/log.h"

struct config *reload_read(const char *path, enum config_part part)
{
	struct config_problems problems = {0};
	struct config *config;

	if (config_load_part(path, part, &config, &problems) != 0 && problems.n == 0)
		log_err("%s: out of memory", path);
	for (size_t i = 0; i < problems.n; i++) {
		if (config != NULL || problems.problem[i].is_warning)
			log_warn("%s", problems.problem[i].text);
		else
			log_err("%s", problems.problem[i].text);
	}
	if (config != NULL && problems.n_errors > 0)
		log_warn("%s: what is wrong is none of this program's, which goes on; sluiced "
			 "refuses the "
			 "file",
			 path);
	return config;
}

static bool is_same_port(const struct config_port *a, const struct config_port *b)
{
	return a->kind == b->kind && strcmp(a->device, b->device) == 0 &&
	       strcmp(a->kernel_interface, b->kernel_interface) == 0;
}

static bool has_same_ports(const struct config *a, const struct config *b)
{
	if (a->n_ports != b->n_ports)
		return false;
	for (size_t i = 0; i < a->n_ports; i++)
		if (!is_same_port(&a->port[i], &b->port[i]))
			return false;
	return true;
}

static void say_unless(bool is_same, const char *key)
{
	if (!is_same)
		log_warn("reload: dataplane.%s has changed: needs a restart", key);
}

void reload_take(struct config *running, const struct config *wanted, struct dataplane *dataplane)
{
	char error[SL_MAX_ERROR] = "";

	say_unless(wanted->engine == running->engine, "engine");
	say_unless(has_same_ports(wanted, running), "ports");
	say_unless(wanted->max_workers == running->max_workers, "max_workers");
	say_unless(wanted->n_flows == running->n_flows, "flows");
	say_unless(wanted->n_affinities == running->n_affinities, "affinities");
	say_unless(wanted->hugepages == running->hugepages, "hugepages");
	say_unless(wanted->memory_mb == running->memory_mb, "memory_mb");
	say_unless(wanted->idle_sleep_us == running->idle_sleep_us, "idle_sleep_us");
	say_unless(strcmp(wanted->flow_log, running->flow_log) == 0, "flow_log");
	say_unless(wanted->telemetry == running->telemetry, "telemetry");
	if (wanted->n_workers == running->n_workers &&
	    memcmp(wanted->core, running->core, sizeof(wanted->core)) == 0) {
		log_info("reload: dataplane.workers is %u as before", wanted->n_workers);
		return;
	}
	if (dataplane_set_workers(dataplane, wanted->n_workers, wanted->core, error) != 0) {
		log_err("reload: %s",
			error[0] != '\0' ? error : "dataplane.workers: out of memory");
		return;
	}
	running->n_workers = wanted->n_workers;
	memcpy(running->core, wanted->core, sizeof(running->core));
	log_info("reload: dataplane.workers is %u", running->n_workers);
}
