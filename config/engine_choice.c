/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "config/engine_choice.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"

/* Free hugepages of all sizes. */
static unsigned long n_free_hugepages(const char *folder)
{
	DIR *sizes = opendir(folder);
	unsigned long n = 0;
	struct dirent *size;

	if (sizes == NULL)
		return 0;
	while ((size = readdir(sizes)) != NULL) {
		char path[512];
		unsigned long free_pages = 0;
		FILE *file;

		if (size->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s/free_hugepages", folder, size->d_name);
		file = fopen(path, "r");
		if (file == NULL)
			continue;
		if (fscanf(file, "%lu", &free_pages) == 1)
			n += free_pages;
		fclose(file);
	}
	closedir(sizes);
	return n;
}

const char *engine_choose(const struct config *config, const char *hugepages, char *reason,
			  size_t size)
{
	unsigned long n_free;

	if (config->engine != CONFIG_ENGINE_AUTO) {
		snprintf(reason, size, "dataplane.engine says so");
		return config->engine == CONFIG_ENGINE_XDP ? "xdp" : "dpdk";
	}
	for (size_t i = 0; i < config->n_ports; i++) {
		if (config->port[i].kind == CONFIG_PORT_INTERFACE)
			continue;
		snprintf(reason, size, "auto: port %.60s is no kernel interface",
			 config->port[i].device);
		return "dpdk";
	}
	n_free = n_free_hugepages(hugepages);
	if (n_free > 0) {
		snprintf(reason, size, "auto: %lu hugepages are free", n_free);
		return "dpdk";
	}
	snprintf(reason, size, "auto: kernel interfaces only, and no free hugepages");
	return "xdp";
}
