/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Ports: from a name in the configuration to a started ethdev with its rings and its kernel end.
 * A kernel interface is driven through AF_XDP, a PCI device by the driver that EAL probed, a vdev
 * by the driver that its string names.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include "dataplane/dpdk/engine.h"
#include "log/log.h"

unsigned int if_nametoindex(const char *name);

/* What SOCKET_ID_ANY is to functions that take an unsigned socket. */
static const unsigned int NO_SOCKET = (unsigned int)SOCKET_ID_ANY;

static int vdev_open(struct port *port, const char *text, char *error)
{
	char name[RTE_ETH_NAME_MAX_LEN];
	const char *arguments = strchr(text, ',');
	size_t length = arguments != NULL ? (size_t)(arguments - text) : strlen(text);

	if (length >= sizeof(name)) {
		snprintf(error, SL_MAX_ERROR, "port %s: vdev name is longer than %zu",
			 port->options.name, sizeof(name) - 1);
		return -EINVAL;
	}
	memcpy(name, text, length);
	name[length] = '\0';
	if (rte_eal_hotplug_add("vdev", name, arguments != NULL ? arguments + 1 : "") != 0 ||
	    rte_eth_dev_get_port_by_name(name, &port->id) != 0) {
		snprintf(error, SL_MAX_ERROR, "port %s: DPDK cannot open %s", port->options.name,
			 text);
		return -ENODEV;
	}
	return 0;
}

static int interface_open(struct port *port, uint32_t index, char *error)
{
	char text[256];
	int status;

	port->is_classified = true;
	port->ifindex = if_nametoindex(port->options.device);
	if (port->ifindex == 0) {
		snprintf(error, SL_MAX_ERROR, "port %s: no such interface", port->options.name);
		return -ENODEV;
	}
	status = classifier_prepare(port, error);
	if (status != 0)
		return status;
	snprintf(text, sizeof(text), "net_af_xdp%u,iface=%s,xdp_prog=%s", index,
		 port->options.device, classifier_path(port));
	return vdev_open(port, text, error);
}

static int device_open(struct port *port, uint32_t index, char *error)
{
	switch ((enum dataplane_port_kind)port->options.kind) {
	case DATAPLANE_PORT_INTERFACE:
		return interface_open(port, index, error);
	case DATAPLANE_PORT_VDEV:
		return vdev_open(port, port->options.device, error);
	case DATAPLANE_PORT_PCI:
		if (rte_eth_dev_get_port_by_name(port->options.device, &port->id) == 0)
			return 0;
		snprintf(error, SL_MAX_ERROR,
			 "port %s: no DPDK driver has this device (is it bound to vfio-pci or "
			 "uio_pci_generic?)",
			 port->options.name);
		return -ENODEV;
	}
	return -EINVAL;
}

static int rings_open(struct port *port, uint32_t index, char *error)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "to_kernel%u", index);
	port->to_kernel = rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY, RING_F_SC_DEQ);
	snprintf(name, sizeof(name), "from_kernel%u", index);
	port->from_kernel =
		rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (port->to_kernel == NULL || port->from_kernel == NULL) {
		snprintf(error, SL_MAX_ERROR, "port %s: rings: %s", port->options.name,
			 rte_strerror(rte_errno));
		return -ENOMEM;
	}
	return 0;
}

static int queues_open(struct dataplane *dataplane, struct port *port, char *error)
{
	struct rte_eth_conf config = {0};
	struct rte_eth_dev_info info;
	uint32_t needed = dataplane->options.max_workers != 0 ? dataplane->options.max_workers
							      : dataplane->n_workers;
	uint16_t n_queues;
	uint16_t n_descriptors = N_DESCRIPTORS;
	uint16_t n_tx_descriptors = N_DESCRIPTORS;
	int status = rte_eth_dev_info_get(port->id, &info);

	if (status != 0)
		return status;
	snprintf(port->driver, sizeof(port->driver), "%s", info.driver_name);
	n_queues =
		info.max_rx_queues < info.max_tx_queues ? info.max_rx_queues : info.max_tx_queues;
	if (n_queues < needed) {
		snprintf(error, SL_MAX_ERROR,
			 "port %s: %u workers need a queue each; %s has %u receive and %u transmit "
			 "queues",
			 port->options.name, needed, port->driver, info.max_rx_queues,
			 info.max_tx_queues);
		return -EINVAL;
	}
	port->n_queues =
		n_queues < dataplane->max_workers ? n_queues : (uint16_t)dataplane->max_workers;
	rss_configure(dataplane, port, &info, &config);
	status = rte_eth_dev_configure(port->id, port->n_queues, port->n_queues, &config);
	if (status == 0)
		status = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &n_descriptors,
							  &n_tx_descriptors);
	for (uint16_t queue = 0; status == 0 && queue < port->n_queues; queue++) {
		status = rte_eth_rx_queue_setup(port->id, queue, n_descriptors, NO_SOCKET, NULL,
						dataplane->pool);
		if (status == 0)
			status = rte_eth_tx_queue_setup(port->id, queue, n_tx_descriptors,
							NO_SOCKET, NULL);
	}
	if (status != 0)
		snprintf(error, SL_MAX_ERROR, "port %s: %s queues: %s", port->options.name,
			 port->driver, rte_strerror(-status));
	return status;
}

int port_open(struct dataplane *dataplane, uint32_t index, char *error)
{
	struct port *port = &dataplane->port[index];
	struct rte_ether_addr mac;
	int status;

	port->tap = -1;
	port->id = RTE_MAX_ETHPORTS;
	status = device_open(port, index, error);
	if (status != 0)
		return status;
	dataplane->port_of_id[port->id] = (uint16_t)index;
	status = rte_eth_macaddr_get(port->id, &mac);
	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "port %s: link address: %s", port->options.name,
			 rte_strerror(-status));
		return status;
	}
	memcpy(port->mac, mac.addr_bytes, 6);
	if (rte_eth_dev_get_mtu(port->id, &port->mtu) != 0)
		port->mtu = RTE_ETHER_MTU;
	status = queues_open(dataplane, port, error);
	if (status == 0 && port->is_classified)
		status = classifier_adopt(port, error);
	if (status == 0)
		status = rings_open(port, index, error);
	if (status == 0)
		status = tap_open(port, error);
	return status;
}

int port_start(struct dataplane *dataplane, struct port *port, char *error)
{
	int status = rte_eth_dev_start(port->id);

	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "port %s: start: %s", port->options.name,
			 rte_strerror(-status));
		return status;
	}
	port->is_started = true;
	/* Groups are the kernel's: ARP, ND, routing protocols. Not every driver has the switch. */
	if (!port->is_classified && rte_eth_allmulticast_enable(port->id) != 0)
		log_debug("port %s: %s cannot receive all groups", port->options.name,
			  port->driver);
	rss_open(dataplane, port);
	return 0;
}

void port_close(struct port *port)
{
	if (port->id < RTE_MAX_ETHPORTS) {
		if (port->is_started)
			rte_eth_dev_stop(port->id);
		rte_eth_dev_close(port->id);
	}
	tap_close(port);
	classifier_close(port);
	rte_ring_free(port->to_kernel);
	rte_ring_free(port->from_kernel);
}

void port_describe(struct dataplane *dataplane, struct port *port, struct wire_port_record *record)
{
	struct rte_eth_stats stats = {0};
	struct rte_eth_link link = {0};
	uint16_t mtu = 0;

	snprintf(record->name, sizeof(record->name), "%s", port->options.name);
	snprintf(record->driver, sizeof(record->driver), "%s", port->driver);
	snprintf(record->kernel_interface, sizeof(record->kernel_interface), "%s",
		 port->options.kernel_interface);
	memcpy(record->mac, port->mac, 6);
	rte_eth_stats_get(port->id, &stats);
	rte_eth_link_get_nowait(port->id, &link);
	rte_eth_dev_get_mtu(port->id, &mtu);
	record->is_up = link.link_status == RTE_ETH_LINK_UP;
	record->speed_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	record->mtu = mtu;
	record->rx_packets = stats.ipackets;
	record->rx_bytes = stats.ibytes;
	record->rx_missed = stats.imissed;
	record->rx_nombuf = stats.rx_nombuf;
	record->tx_packets = stats.opackets;
	record->tx_bytes = stats.obytes;
	record->tx_errors = stats.oerrors;
	record->buffers_in_use = rte_mempool_in_use_count(dataplane->pool);
}
