/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* config/engine_choice.h: which engine a configuration means on a host with these hugepages. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/engine_choice.h"

enum {
	REASON_SIZE = 128,
};

static char folder[64];
static char reason[REASON_SIZE];

/* /sys/kernel/mm/hugepages as the kernel makes it: a folder a size, with a file that counts. */
static void put_pages(const char *size, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, size);
	cr_assert_eq(mkdir(path, 0700), 0);
	if (text == NULL)
		return;
	snprintf(path, sizeof(path), "%s/%s/free_hugepages", folder, size);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	fputs(text, file);
	fclose(file);
}

static void make_folder(void)
{
	snprintf(folder, sizeof(folder), "/tmp/sluice-hugepages-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
	static const char *const sizes[] = {"hugepages-2048kB", "hugepages-1048576kB"};
	char path[256];

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s/free_hugepages", folder, sizes[i]);
		unlink(path);
		snprintf(path, sizeof(path), "%s/%s", folder, sizes[i]);
		rmdir(path);
	}
	rmdir(folder);
}

static const char *choose(const struct config *config)
{
	memset(reason, 'x', sizeof(reason));
	return engine_choose(config, folder, reason, sizeof(reason));
}

/* A configuration with one port. */
static struct config *config_of(enum config_engine engine, enum config_port_kind kind,
				const char *device)
{
	struct config *config = calloc(1, sizeof(*config));

	cr_assert_not_null(config);
	config->engine = engine;
	config->n_ports = 1;
	config->port[0].kind = kind;
	snprintf(config->port[0].device, sizeof(config->port[0].device), "%s", device);
	return config;
}

TestSuite(engine_choice, .init = make_folder, .fini = remove_folder);

Test(engine_choice, what_the_configuration_names_is_taken)
{
	struct config *config = config_of(CONFIG_ENGINE_XDP, CONFIG_PORT_INTERFACE, "eth1");

	put_pages("hugepages-2048kB", "512\n");
	cr_assert_str_eq(choose(config), "xdp");
	cr_assert_str_eq(reason, "dataplane.engine says so");
	config->engine = CONFIG_ENGINE_DPDK;
	cr_assert_str_eq(choose(config), "dpdk");
	cr_assert_str_eq(reason, "dataplane.engine says so");
	free(config);
}

Test(engine_choice, kernel_interfaces_without_hugepages_are_xdps)
{
	struct config *config = config_of(CONFIG_ENGINE_AUTO, CONFIG_PORT_INTERFACE, "eth1");

	put_pages("hugepages-2048kB", "0\n");
	put_pages("hugepages-1048576kB", "0\n");
	cr_assert_str_eq(choose(config), "xdp");
	cr_assert_str_eq(reason, "auto: kernel interfaces only, and no free hugepages");
	free(config);
}

Test(engine_choice, free_hugepages_of_all_sizes_count)
{
	struct config *config = config_of(CONFIG_ENGINE_AUTO, CONFIG_PORT_INTERFACE, "eth1");

	put_pages("hugepages-2048kB", "500\n");
	put_pages("hugepages-1048576kB", "12\n");
	cr_assert_str_eq(choose(config), "dpdk");
	cr_assert_str_eq(reason, "auto: 512 hugepages are free");
	free(config);
}

Test(engine_choice, port_of_dpdk_decides_whatever_the_hugepages)
{
	struct config *config = config_of(CONFIG_ENGINE_AUTO, CONFIG_PORT_PCI, "0000:03:00.0");

	put_pages("hugepages-2048kB", "0\n");
	cr_assert_str_eq(choose(config), "dpdk");
	cr_assert_str_eq(reason, "auto: port 0000:03:00.0 is no kernel interface");
	free(config);
}

Test(engine_choice, one_virtual_device_among_interfaces_is_enough)
{
	struct config *config = config_of(CONFIG_ENGINE_AUTO, CONFIG_PORT_INTERFACE, "eth1");

	config->n_ports = 2;
	config->port[1].kind = CONFIG_PORT_VDEV;
	snprintf(config->port[1].device, sizeof(config->port[1].device), "net_null0");
	cr_assert_str_eq(choose(config), "dpdk");
	cr_assert_str_eq(reason, "auto: port net_null0 is no kernel interface");
	free(config);
}

Test(engine_choice, host_without_hugepages_or_with_unreadable_ones_has_none_free)
{
	struct config *config = config_of(CONFIG_ENGINE_AUTO, CONFIG_PORT_INTERFACE, "eth1");

	put_pages("hugepages-2048kB", NULL);
	put_pages("hugepages-1048576kB", "many\n");
	cr_assert_str_eq(choose(config), "xdp");
	cr_assert_str_eq(engine_choose(config, "/nonexistent", reason, sizeof(reason)), "xdp");
	free(config);
}

Test(engine_choice, reason_is_cut_to_its_room)
{
	struct config *config = config_of(CONFIG_ENGINE_AUTO, CONFIG_PORT_VDEV, "net_");
	char small[16];

	memset(config->port[0].device + 4, 'x', sizeof(config->port[0].device) - 5);
	cr_assert_str_eq(engine_choose(config, folder, small, sizeof(small)), "dpdk");
	cr_assert_eq(strlen(small), sizeof(small) - 1);
	cr_assert_str_eq(choose(config), "dpdk");
	cr_assert_lt(strlen(reason), (size_t)REASON_SIZE);
	free(config);
}
