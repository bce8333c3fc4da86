/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Starts DPDK's environment from Sluice's options: memory, cores, devices. Every process has its
 * own run directory, so several can run on one host. Once in a process.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

#include "dataplane/dpdk/cores.h"
#include "dataplane/dpdk/engine.h"
#include "log/log.h"

#define FILE_PREFIX "sluice"

enum {
	MAX_ARGUMENTS = 32,
	MAX_ARGUMENT = 512,
	DEFAULT_MEMORY_MB = 320,
};

struct arguments {
	int n;
	char *argv[MAX_ARGUMENTS + 1];
	char text[MAX_ARGUMENTS][MAX_ARGUMENT];
};

__attribute__((format(printf, 2, 3))) static void add(struct arguments *arguments,
						      const char *format, ...)
{
	va_list values;

	if (arguments->n == MAX_ARGUMENTS)
		return;
	va_start(values, format);
	vsnprintf(arguments->text[arguments->n], MAX_ARGUMENT, format, values);
	va_end(values);
	arguments->argv[arguments->n] = arguments->text[arguments->n];
	arguments->n++;
}

/* Of hugepages that are free, of the size that the kernel gives by default; and that size. */
static unsigned long free_hugepages_mb(unsigned long *page_kib)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long n_free = 0;
	unsigned long kib = 2048;

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		sscanf(line, "HugePages_Free: %lu", &n_free);
		sscanf(line, "Hugepagesize: %lu", &kib);
	}
	fclose(file);
	if (page_kib != NULL)
		*page_kib = kib;
	return n_free * kib / 1024;
}

/* What rte_eal_init() refused, and what mends it where that is known. */
static void explain_refusal(const struct dataplane *dataplane, uint32_t memory_mb, char *error)
{
	unsigned long page_kib = 2048;
	unsigned long free_mb = free_hugepages_mb(&page_kib);

	if (dataplane->has_hugepages && free_mb < memory_mb)
		snprintf(error, SL_MAX_ERROR,
			 "DPDK: %lu MB of hugepages are free, and %u MB are wanted: \"sysctl -w "
			 "vm.nr_hugepages=%lu\" makes room, or hugepages: auto does without",
			 free_mb, memory_mb,
			 ((unsigned long)memory_mb * 1024 + page_kib - 1) / page_kib);
	else
		snprintf(error, SL_MAX_ERROR, "DPDK: %s (%s memory, %u MB)",
			 rte_strerror(rte_errno),
			 dataplane->has_hugepages ? "hugepage" : "ordinary", memory_mb);
}

/* The control thread floats until cores_leave() says where; lcore i + 1 is worker i, pinned. */
static void add_cores(struct arguments *arguments, struct dataplane *dataplane)
{
	const cpu_set_t *allowed = &dataplane->cores;
	char text[MAX_ARGUMENT] = "0@(";
	size_t used = 3;
	const char *separator = "";

	for (int core = 0; core < CPU_SETSIZE && used < sizeof(text) - 64; core++)
		if (CPU_ISSET((size_t)core, allowed)) {
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%d",
						 separator, core);
			separator = ",";
		}
	used += (size_t)snprintf(text + used, sizeof(text) - used, ")");
	for (uint32_t i = 0; i < dataplane->max_workers && used < sizeof(text) - 16; i++) {
		dataplane->worker[i]->lcore = i + 1;
		used += (size_t)snprintf(text + used, sizeof(text) - used, ",%u@%d", i + 1,
					 dataplane->worker[i]->core);
	}
	add(arguments, "--lcores");
	add(arguments, "%s", text);
}

static void add_devices(struct arguments *arguments, struct dataplane *dataplane)
{
	bool has_pci = false;

	for (uint32_t i = 0; i < dataplane->n_ports; i++) {
		const struct dataplane_port_options *options = &dataplane->port[i].options;

		if (options->kind != DATAPLANE_PORT_PCI)
			continue;
		has_pci = true;
		add(arguments, "-a");
		add(arguments, "%s", options->device);
	}
	if (!has_pci)
		add(arguments, "--no-pci");
}

/* @path: PATH_MAX bytes. Returns @path. */
static const char *telemetry_path(const char *run_dir, char *path)
{
	snprintf(path, PATH_MAX, "%s/dpdk/" FILE_PREFIX "/dpdk_telemetry.v2", run_dir);
	return path;
}

/* EAL itself would end without a word. */
static int judge_telemetry_path(const char *run_dir, char *error)
{
	const size_t limit = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	char path[PATH_MAX];

	if (strlen(telemetry_path(run_dir, path)) <= limit)
		return 0;
	snprintf(error, SL_MAX_ERROR,
		 "dataplane.telemetry: socket %.150s: path longer than %zu bytes", path, limit);
	return -ENAMETOOLONG;
}

int eal_start(struct dataplane *dataplane, char *error)
{
	const struct dataplane_options *options = &dataplane->options;
	uint32_t memory_mb = options->memory_mb != 0 ? options->memory_mb : DEFAULT_MEMORY_MB;
	struct arguments *arguments = calloc(1, sizeof(*arguments));
	int status;

	if (arguments == NULL)
		return -ENOMEM;
	dataplane->has_hugepages = options->hugepages == DATAPLANE_HUGEPAGES_ON ||
				   (options->hugepages == DATAPLANE_HUGEPAGES_AUTO &&
				    free_hugepages_mb(NULL) >= DEFAULT_MEMORY_MB);
	status = cores_choose(dataplane, error);
	if (status == 0 && options->has_telemetry)
		status = judge_telemetry_path(options->run_dir, error);
	if (status != 0)
		goto out;
	add(arguments, "sluice-dpdk");
	/* DPDK's own files stand under our run directory, where nobody else's can be. */
	setenv("RUNTIME_DIRECTORY", options->run_dir, 1);
	add(arguments, "--file-prefix");
	add(arguments, FILE_PREFIX);
	/* Nothing is left behind: no shared configuration, no hugepage files. */
	if (dataplane->has_hugepages) {
		add(arguments, "--in-memory");
	} else {
		add(arguments, "--no-huge");
		add(arguments, "--no-shconf");
	}
	if (!options->has_telemetry)
		add(arguments, "--no-telemetry");
	add(arguments, "-m");
	add(arguments, "%u", memory_mb);
	/*
	 * It warns that nobody has use for the socket that it had before DPDK 20.05. Of what EAL
	 * registers late the first level that fits is taken.
	 */
	add(arguments, "--log-level=lib.telemetry:error");
	add(arguments, "--log-level=lib.*:warning");
	add(arguments, "--log-level=pmd.*:warning");
	add_cores(arguments, dataplane);
	add_devices(arguments, dataplane);
	if (rte_eal_init(arguments->n, arguments->argv) < 0) {
		explain_refusal(dataplane, memory_mb, error);
		status = -EIO;
	}
out:
	free(arguments);
	return status;
}

void eal_stop(const struct dataplane *dataplane)
{
	const char *run_dir = dataplane->options.run_dir;
	char path[PATH_MAX];

	rte_eal_cleanup();
	(void)unlink(telemetry_path(run_dir, path));
	snprintf(path, sizeof(path), "%s/dpdk/" FILE_PREFIX, run_dir);
	(void)rmdir(path);
	snprintf(path, sizeof(path), "%s/dpdk", run_dir);
	(void)rmdir(path);
}
