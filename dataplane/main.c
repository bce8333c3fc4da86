/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * A dataplane program: options, configuration, engine, server, signals. The engine is chosen by
 * what is linked. Only this file exits.
 */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "config/config.h"
#include "config/engine_choice.h"
#include "dataplane/dataplane.h"
#include "dataplane/flow_log.h"
#include "dataplane/reload.h"
#include "dataplane/server.h"
#include "heap/heap.h"
#include "log/log.h"

enum {
	EXIT_REFUSED = 1,
	EXIT_USAGE = 2,
};

struct options {
	const char *config_file;
	const char *run_dir;
	enum log_level level;
	bool is_check;
	bool is_replacing;
	bool is_fresh;
	bool is_unload;
};

static char program[32];

static void print_help(void)
{
	printf("usage: %s [OPTION]...\n"
	       "\n"
	       "  -c, --config FILE    configuration (default /etc/sluice/sluice.yaml)\n"
	       "      --run-dir DIR    where the sockets are, instead of the configuration's "
	       "run_dir\n"
	       "      --log-level L    error, warning, info (default) or debug\n"
	       "      --check          judge the configuration and exit\n"
	       "      --version        print the version and exit\n"
	       "  -h, --help           print this and exit\n",
	       program);
	if (strcmp(dataplane_engine(), "xdp") == 0)
		printf("\n"
		       "      --replace        take another XDP program off a port\n"
		       "      --fresh          give up tables and flows of a former process\n"
		       "      --unload         take program and tables off the host and exit\n");
}

/* 0: go on; else the exit status plus one. */
static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{"config", required_argument, NULL, 'c'},
		{"run-dir", required_argument, NULL, 'r'},
		{"log-level", required_argument, NULL, 'l'},
		{"check", no_argument, NULL, 'k'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"replace", no_argument, NULL, 'p'},
		{"fresh", no_argument, NULL, 'f'},
		{"unload", no_argument, NULL, 'u'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:h", known, NULL)) != -1) {
		switch (option) {
		case 'c':
			options->config_file = optarg;
			break;
		case 'r':
			options->run_dir = optarg;
			break;
		case 'l':
			if (!log_level_from_name(optarg, &options->level)) {
				fprintf(stderr,
					"%s: log level \"%s\" (error, warning, info, debug)\n",
					program, optarg);
				return EXIT_USAGE + 1;
			}
			break;
		case 'k':
			options->is_check = true;
			break;
		case 'p':
			options->is_replacing = true;
			break;
		case 'f':
			options->is_fresh = true;
			break;
		case 'u':
			options->is_unload = true;
			break;
		case 'v':
			printf("%s %s\n", program, SLUICE_VERSION);
			return 1;
		case 'h':
			print_help();
			return 1;
		default:
			fprintf(stderr, "try: %s --help\n", program);
			return EXIT_USAGE + 1;
		}
	}
	if ((options->is_replacing || options->is_fresh || options->is_unload) &&
	    strcmp(dataplane_engine(), "xdp") != 0) {
		fprintf(stderr, "%s: --replace, --fresh and --unload are sluice-xdp's\n", program);
		return EXIT_USAGE + 1;
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument \"%s\"\n", program, argv[optind]);
		return EXIT_USAGE + 1;
	}
	return 0;
}

/* Whether this program may run what the configuration asks for; @reason: out, why this engine. */
static bool is_for_us(const struct config *config, bool is_check, char *reason, size_t size)
{
	const char *engine = dataplane_engine();
	const char *chosen;

	reason[0] = '\0';
	if (strcmp(engine, "memory") == 0)
		return true;
	chosen = engine_choose(config, "/sys/kernel/mm/hugepages", reason, size);
	if (strcmp(chosen, engine) != 0) {
		log_err("this program is the %s engine, this host is to run sluice-%s (%s)", engine,
			chosen, reason);
		return false;
	}
	if (geteuid() != 0 && !is_check) {
		log_err("must be started as root (the user is %u)", (unsigned int)geteuid());
		return false;
	}
	if (config->n_ports == 0) {
		log_err("dataplane.ports: no port is configured");
		return false;
	}
	return true;
}

static void fill_options(const struct config *config, struct dataplane_options *options)
{
	options->run_dir = config->run_dir;
	options->n_ports = (uint32_t)config->n_ports;
	for (size_t i = 0; i < config->n_ports; i++) {
		const struct config_port *port = &config->port[i];
		struct dataplane_port_options *out = &options->port[i];

		/* The two enumerations have the same values in the same order. */
		out->kind = port->kind;
		out->device = port->device;
		snprintf(out->name, sizeof(out->name), "%.*s", (int)strcspn(port->device, ","),
			 port->device);
		memcpy(out->kernel_interface, port->kernel_interface,
		       sizeof(out->kernel_interface));
	}
	options->n_workers = config->n_workers;
	options->max_workers = config->max_workers;
	memcpy(options->core, config->core, sizeof(options->core));
	options->n_flows = config->n_flows;
	options->n_affinities = config->n_affinities;
	options->memory_mb = config->memory_mb;
	options->idle_sleep_us = config->idle_sleep_us;
	options->hugepages = config->hugepages;
	options->has_telemetry = config->telemetry != 0;
}

_Static_assert((int)CONFIG_PORT_INTERFACE == (int)DATAPLANE_PORT_INTERFACE, "same values");
_Static_assert((int)CONFIG_PORT_VDEV == (int)DATAPLANE_PORT_VDEV, "same values");
_Static_assert((int)CONFIG_HUGEPAGES_OFF == (int)DATAPLANE_HUGEPAGES_OFF, "same values");

/* The directory of the sockets: made if missing, refused if anybody may write there. */
static bool make_run_dir(const char *path)
{
	struct stat status;

	if (mkdir(path, 0755) != 0 && errno != EEXIST) {
		log_err("run_dir %s: %s", path, strerror(errno));
		return false;
	}
	if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
		log_err("run_dir %s: not a directory", path);
		return false;
	}
	if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0) {
		log_err("run_dir %s: anybody may write there (mode %03o)", path,
			status.st_mode & 0777);
		return false;
	}
	return true;
}

/* Tells a service manager that we are ready (sd_notify(3)). */
static void notify_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (path == NULL || path[0] == '\0' || strlen(path) >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, strlen(path));
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&address,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
		log_warn("service manager: %s", strerror(errno));
	close(fd);
}

static void on_signal(evutil_socket_t number, short what SL_UNUSED, void *base)
{
	log_info("signal %d: stopping", (int)number);
	event_base_loopbreak(base);
}

/** What a change of the configuration concerns. */
struct running {
	const char *config_file;
	struct config *config;
	struct dataplane *dataplane;
	struct flow_log *flow_log;
};

static void on_reload(evutil_socket_t number SL_UNUSED, short what SL_UNUSED, void *data)
{
	struct running *running = data;
	struct config *wanted = reload_read(running->config_file, CONFIG_PART_DATAPLANE);

	if (wanted == NULL)
		log_err("reload: %s is refused, and nothing has changed", running->config_file);
	else
		reload_take(running->config, wanted, running->dataplane);
	config_free(wanted);
	/* Whoever moves the file away says so by the same signal. */
	flow_log_reopen(running->flow_log);
}

/* Numeric names are taken as numbers, as everywhere. -1: no such name. */
static uid_t user_id(const char *name)
{
	const struct passwd *user = getpwnam(name);
	char *end;
	unsigned long number = strtoul(name, &end, 10);

	return user != NULL ? user->pw_uid : *end == '\0' ? (uid_t)number : (uid_t)-1;
}

static gid_t group_id(const char *name)
{
	const struct group *group = getgrnam(name);
	char *end;
	unsigned long number = strtoul(name, &end, 10);

	return group != NULL ? group->gr_gid : *end == '\0' ? (gid_t)number : (gid_t)-1;
}

/* Where sluiced connects. @path: CONFIG_MAX_PATH + 32 bytes. */
static void socket_path(const struct config *config, char *path)
{
	snprintf(path, CONFIG_MAX_PATH + 32, "%s/dataplane.sock", config->run_dir);
}

static int serve(struct running *running, struct event_base *base)
{
	const struct config *config = running->config;
	char path[CONFIG_MAX_PATH + 32];
	struct server_options options = {
		.path = path, .uid = user_id(config->user), .gid = group_id(config->group)};
	struct event *term = evsignal_new(base, SIGTERM, on_signal, base);
	struct event *interrupt = evsignal_new(base, SIGINT, on_signal, base);
	struct event *reload = evsignal_new(base, SIGHUP, on_reload, running);
	char error[SL_MAX_ERROR] = "";
	struct server *server = NULL;
	int status = EXIT_REFUSED;

	socket_path(config, path);
	if (term == NULL || interrupt == NULL || reload == NULL || event_add(term, NULL) != 0 ||
	    event_add(interrupt, NULL) != 0 || event_add(reload, NULL) != 0) {
		log_err("signals: out of memory");
	} else if (server_open(&options, running->dataplane, base, &server, error) != 0) {
		log_err("%s", error);
	} else {
		log_info("ready: engine %s, %zu ports, %u workers", dataplane_engine(),
			 config->n_ports, config->n_workers);
		notify_ready();
		event_base_dispatch(base);
		status = 0;
	}
	server_close(server);
	if (term != NULL)
		event_free(term);
	if (interrupt != NULL)
		event_free(interrupt);
	if (reload != NULL)
		event_free(reload);
	return status;
}

static int run(struct config *config, const struct options *from, const char *reason)
{
	struct dataplane_options *options = calloc(1, sizeof(*options));
	struct event_base *base = event_base_new();
	struct dataplane *dataplane = NULL;
	struct flow_log *flow_log = NULL;
	char path[CONFIG_MAX_PATH + 32];
	char error[SL_MAX_ERROR] = "";
	int status = EXIT_REFUSED;

	socket_path(config, path);
	if (options == NULL || base == NULL) {
		log_err("out of memory");
	} else if (server_clear_path(path, error) != 0) {
		/* Now, and not when we listen: by then the ports, or their tables, were taken. */
		log_err("%s", error);
	} else if (config->flow_log[0] != '\0' && !from->is_unload &&
		   flow_log_open(config->flow_log, &flow_log, error) != 0) {
		log_err("%s", error);
	} else {
		fill_options(config, options);
		options->flow_log = flow_log;
		options->is_replacing = from->is_replacing;
		options->is_fresh = from->is_fresh;
		snprintf(options->reason, sizeof(options->reason), "%s", reason);
		if (from->is_unload)
			status = dataplane_unload(options, error) == 0 ? 0 : EXIT_REFUSED;
		if (from->is_unload && status != 0)
			log_err("%s", error);
		else if (from->is_unload)
			log_debug("unloaded");
		else if (dataplane_open(options, base, &dataplane, error) != 0) {
			log_err("%s", error);
		} else {
			struct running running = {.config_file = from->config_file,
						  .config = config,
						  .dataplane = dataplane,
						  .flow_log = flow_log};

			status = serve(&running, base);
			dataplane_close(dataplane);
		}
	}
	flow_log_close(flow_log);
	if (base != NULL)
		event_base_free(base);
	free(options);
	return status;
}

/* What the options leave to be read: --check judges the whole file, --unload asks for a folder. */
static struct config *read_config(const struct options *options)
{
	struct config *config;

	if (options->is_unload && options->run_dir != NULL)
		config = config_default();
	else
		config = reload_read(options->config_file, options->is_check ? CONFIG_PART_ALL
							   : options->is_unload
								   ? CONFIG_PART_RUN_DIR
								   : CONFIG_PART_DATAPLANE);
	if (config != NULL && options->run_dir != NULL)
		snprintf(config->run_dir, sizeof(config->run_dir), "%s", options->run_dir);
	return config;
}

int main(int argc, char **argv)
{
	struct options options = {.config_file = "/etc/sluice/sluice.yaml",
				  .level = LOG_LEVEL_INFO};
	struct config *config;
	char reason[128] = "";
	int status;

	snprintf(program, sizeof(program), "sluice-%s", dataplane_engine());
	status = parse_options(argc, argv, &options);
	if (status != 0)
		return status - 1;
	log_open(program, options.level);
	signal(SIGPIPE, SIG_IGN);
	heap_keep();
	if (options.run_dir != NULL && strlen(options.run_dir) >= CONFIG_MAX_PATH) {
		log_err("run_dir %s: longer than %d bytes", options.run_dir, CONFIG_MAX_PATH - 1);
		return EXIT_USAGE;
	}
	config = read_config(&options);
	if (config == NULL)
		return EXIT_REFUSED;
	status = EXIT_REFUSED;
	/* What is to be taken off the host may be there whichever engine is to run now. */
	if (options.is_unload || is_for_us(config, options.is_check, reason, sizeof(reason))) {
		if (options.is_check)
			status = 0;
		else if (make_run_dir(config->run_dir))
			status = run(config, &options, reason);
	}
	config_free(config);
	return status;
}
