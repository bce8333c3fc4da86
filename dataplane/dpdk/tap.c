/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The kernel's end of a port: a TAP with the port's own link address. To a port of DPDK's own (a
 * PCI device, a vdev) it is the interface that carries the host's addresses and routes. To a kernel
 * interface it is only the way back for frames that the worker had no use for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "dataplane/dpdk/engine.h"
#include "log/log.h"

unsigned int if_nametoindex(const char *name);

static void write_setting(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, value, strlen(value)) < 0)
		log_warn("%s: cannot be set to %s: %s", path, value, strerror(errno));
	close(fd);
}

/*
 * Punted frames of a kernel interface come in by the TAP although the way back is the interface:
 * no reverse path filter, and no addresses of the TAP's own.
 */
static void quieten(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", name);
	write_setting(path, "0");
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/addr_gen_mode", name);
	write_setting(path, "1");
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", name);
	write_setting(path, "0");
}

static int configure(const struct port *port, int control)
{
	struct ifreq request = {0};
	uint16_t mtu = 1500;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", port->options.kernel_interface);
	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(request.ifr_hwaddr.sa_data, port->mac, 6);
	if (ioctl(control, SIOCSIFHWADDR, &request) != 0)
		return -errno;
	rte_eth_dev_get_mtu(port->id, &mtu);
	request.ifr_mtu = mtu;
	if (ioctl(control, SIOCSIFMTU, &request) != 0)
		log_warn("port %s: MTU %u of %s: %s", port->options.name, mtu, request.ifr_name,
			 strerror(errno));
	if (port->is_classified)
		quieten(port->options.kernel_interface);
	if (ioctl(control, SIOCGIFFLAGS, &request) != 0)
		return -errno;
	request.ifr_flags |= IFF_UP;
	if (port->is_classified)
		request.ifr_flags |= IFF_NOARP;
	return ioctl(control, SIOCSIFFLAGS, &request) != 0 ? -errno : 0;
}

int tap_open(struct port *port, char *error)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int control;
	int status;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", port->options.kernel_interface);
	port->tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (port->tap < 0 || ioctl(port->tap, TUNSETIFF, &request) != 0) {
		status = -errno;
		snprintf(error, SL_MAX_ERROR, "port %s: kernel interface %s: %s",
			 port->options.name, port->options.kernel_interface, strerror(-status));
		tap_close(port);
		return status;
	}
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	status = control < 0 ? -errno : configure(port, control);
	if (control >= 0)
		close(control);
	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "port %s: kernel interface %s: %s",
			 port->options.name, port->options.kernel_interface, strerror(-status));
		return status;
	}
	if (!port->is_classified)
		port->ifindex = if_nametoindex(port->options.kernel_interface);
	return 0;
}

void tap_close(struct port *port)
{
	if (port->tap >= 0)
		close(port->tap);
	port->tap = -1;
}
