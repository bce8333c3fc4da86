/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Sends small UDP datagrams of many flows faster than any balancer behind a veth takes them, and
 * counts what arrives. A frame of a socket would cost more than the balancer, and be one that XDP has
 * to copy; these are the kernel's own (BPF_PROG_TEST_RUN with live frames), as a NIC's driver has
 * them. peers.py runs both ends, each in a network namespace. Needs root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>

#include <sluice/packet/checksum.h>
#include <sluice/packet/headers.h>

#include "udp_blast.h"
#include "udp_blast.skel.h"

enum {
	FIRST_PORT = 10000,
	MAX_FLOWS = 50000,
	BATCH = 64,
	PAYLOAD = UDP_BLAST_FRAME - 14 - 20 - 8,
};

struct options {
	const char *device;
	struct in_addr from;
	struct in_addr to;
	unsigned long port;
	unsigned long n_flows;
	unsigned long rate; /* packets/s; 0: as many as can be */
	double seconds;
	uint8_t next_hop[6];
};

static void __attribute__((noreturn)) fail(const char *what, int error)
{
	fprintf(stderr, "udp-blast: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

static struct udp_blast_bpf *load(void)
{
	struct udp_blast_bpf *skeleton = udp_blast_bpf__open_and_load();

	if (skeleton == NULL)
		fail("cannot load the programs", errno);
	return skeleton;
}

static double now_sec(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void read_mac(const char *device, uint8_t *mac)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) != 0)
		fail(device, errno);
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
	close(fd);
}

/* The sum of 16-bit words as they stand in memory; @size is even. */
static uint32_t sum_words(const void *data, size_t size)
{
	uint32_t sum = 0;
	uint16_t word;

	for (size_t i = 0; i < size; i += sizeof(word)) {
		memcpy(&word, (const uint8_t *)data + i, sizeof(word));
		sum += word;
	}
	return sum;
}

static void write_frame(struct udp_blast_sender *sender, const struct options *options)
{
	struct sl_ethernet ethernet = {.type = SL_BE16(SL_ETHERTYPE_IPV4)};
	struct sl_ipv4 ipv4 = {
		.version_ihl = 0x45,
		.total_length = SL_BE16(UDP_BLAST_FRAME - sizeof(ethernet)),
		.ttl = 64,
		.protocol = SL_PROTOCOL_UDP,
		.source = options->from.s_addr,
		.destination = options->to.s_addr,
	};
	struct sl_udp udp = {
		.destination = sl_to_be16((uint16_t)options->port),
		.length = SL_BE16(sizeof(udp) + PAYLOAD),
	};
	uint8_t *at = (uint8_t *)sender->frame;

	memcpy(ethernet.destination, options->next_hop, 6);
	read_mac(options->device, ethernet.source);
	ipv4.checksum = (be16_t)~sl_checksum_fold(sum_words(&ipv4, sizeof(ipv4)));
	memcpy(at, &ethernet, sizeof(ethernet));
	memcpy(at + sizeof(ethernet), &ipv4, sizeof(ipv4));
	memcpy(at + sizeof(ethernet) + sizeof(ipv4), &udp, sizeof(udp));
	memset(at + UDP_BLAST_FRAME - PAYLOAD, 'u', PAYLOAD);
	sender->checksum = sum_words(&ipv4.source, 2 * sizeof(ipv4.source)) +
			   SL_BE16(SL_PROTOCOL_UDP) + udp.length + sum_words(&udp, sizeof(udp)) +
			   sum_words(at + UDP_BLAST_FRAME - PAYLOAD, PAYLOAD);
}

/* Ends the run of the program: a signal is what it looks for. */
static void on_alarm(int number)
{
	(void)number;
}

static void set_alarm(double seconds)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval timer = {
		.it_value = {.tv_sec = (time_t)seconds,
			     .tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void send_all(const struct options *options)
{
	struct udp_blast_bpf *skeleton = load();
	struct udp_blast_sender *sender = &skeleton->data_sender->sender;
	struct xdp_md context = {.data_end = UDP_BLAST_FRAME};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = sender->frame,
		    .data_size_in = UDP_BLAST_FRAME, .ctx_in = &context,
		    .ctx_size_in = sizeof(context), .repeat = INT32_MAX, .batch_size = BATCH,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
	double start;
	int status;

	sender->ifindex = if_nametoindex(options->device);
	if (sender->ifindex == 0)
		fail(options->device, errno);
	sender->first_port = FIRST_PORT;
	sender->n_flows = (uint32_t)options->n_flows;
	sender->rate = options->rate;
	write_frame(sender, options);
	set_alarm(options->seconds);
	start = now_sec(CLOCK_MONOTONIC);
	sender->start_ns = (uint64_t)(start * 1e9);
	status = bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.blast_send), &run);
	if (status != 0 && status != -EINTR)
		fail("live frames", status);
	printf("{\"sent\": %lu, \"seconds\": %.6f}\n", sender->n_sent,
	       now_sec(CLOCK_MONOTONIC) - start);
	udp_blast_bpf__destroy(skeleton);
}

/* A line of JSON for each line read: how many came so far, by the last byte of their destination. */
static void answer_lines(const struct udp_blast_sink *sink)
{
	char line[16];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		const char *separator = "";

		printf("{");
		for (int i = 0; i < UDP_BLAST_HOSTS; i++) {
			uint64_t n = __atomic_load_n(&sink->n_received[i], __ATOMIC_RELAXED);

			if (n == 0)
				continue;
			printf("%s\"%d\": %lu", separator, i, n);
			separator = ", ";
		}
		printf("}\n");
		fflush(stdout);
	}
}

/* The program goes with its links, when this process ends. @other is NULL, or the wire's other end. */
static void count_until_closed(const struct options *options, const char *other)
{
	struct udp_blast_bpf *skeleton = load();
	const char *name[2] = {options->device, other};
	struct udp_blast_sink *sink = &skeleton->data_sink->sink;
	struct bpf_link *link[2] = {NULL, NULL};

	sink->port = sl_to_be16((uint16_t)options->port);
	for (int i = 0; i < 2 && name[i] != NULL; i++) {
		sink->device[i] = if_nametoindex(name[i]);
		if (sink->device[i] == 0)
			fail(name[i], errno);
	}
	for (int i = 0; i < 2 && name[i] != NULL; i++) {
		link[i] = bpf_program__attach_xdp(skeleton->progs.blast_sink, (int)sink->device[i]);
		if (link[i] == NULL)
			fail(name[i], errno);
	}
	answer_lines(sink);
	bpf_link__destroy(link[0]);
	bpf_link__destroy(link[1]);
	udp_blast_bpf__destroy(skeleton);
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: udp-blast send DEVICE --from IPV4 --to IPV4 --port N --next-hop MAC\n"
		"                 [--flows N] [--rate N] [--seconds N]\n"
		"       udp-blast sink DEVICE --port N\n"
		"       udp-blast wire DEVICE DEVICE [--port N]\n"
		"Sends UDP in frames of 64 bytes, their check sequence counted in, of 512 flows\n"
		"or of --flows, as fast as can be or --rate a second. The sink drops what comes\n"
		"to its port, and for each line that it reads says how many there were; so does\n"
		"a wire, which takes all else from one device to the other. Needs root.\n");
	return to == stdout ? 0 : 2;
}

static bool parse_mac(const char *text, uint8_t *mac)
{
	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		      &mac[4], &mac[5]) == 6;
}

static bool parse_option(int option, const char *value, struct options *options)
{
	switch (option) {
	case 'f':
		return inet_pton(AF_INET, value, &options->from) == 1;
	case 't':
		return inet_pton(AF_INET, value, &options->to) == 1;
	case 'p':
		options->port = strtoul(value, NULL, 10);
		return options->port >= 1 && options->port <= UINT16_MAX;
	case 'm':
		return parse_mac(value, options->next_hop);
	case 'n':
		options->n_flows = strtoul(value, NULL, 10);
		return options->n_flows >= 1 && options->n_flows <= MAX_FLOWS;
	case 'r':
		options->rate = strtoul(value, NULL, 10);
		return options->rate <= 1000000000;
	case 's':
		options->seconds = strtod(value, NULL);
		return options->seconds >= 0.01 && options->seconds <= 3600;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{"from", required_argument, NULL, 'f'},
		{"to", required_argument, NULL, 't'},
		{"port", required_argument, NULL, 'p'},
		{"flows", required_argument, NULL, 'n'},
		{"next-hop", required_argument, NULL, 'm'},
		{"rate", required_argument, NULL, 'r'},
		{"seconds", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct options options = {.n_flows = 512, .seconds = 1};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == 'h')
			return usage(stdout);
		if (!parse_option(option, optarg, &options))
			return usage(stderr);
	}
	argc -= optind;
	argv += optind;
	if (argc < 2)
		return usage(stderr);
	options.device = argv[1];
	if (argc == 2 && strcmp(argv[0], "send") == 0 && options.from.s_addr != 0 &&
	    options.to.s_addr != 0 && options.port != 0)
		send_all(&options);
	else if (argc == 2 && strcmp(argv[0], "sink") == 0 && options.port != 0)
		count_until_closed(&options, NULL);
	else if (argc == 3 && strcmp(argv[0], "wire") == 0)
		count_until_closed(&options, argv[2]);
	else
		return usage(stderr);
	return 0;
}
