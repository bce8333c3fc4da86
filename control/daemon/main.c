/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* sluiced: options, start in order, signals, end in reverse. Exit: 0 done, 1 refused, 2 usage. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "config/config.h"
#include "control/daemon/api.h"
#include "control/daemon/change.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/events.h"
#include "control/daemon/health.h"
#include "control/daemon/metrics_server.h"
#include "control/daemon/notify.h"
#include "control/daemon/privileges.h"
#include "control/daemon/reconcile.h"
#include "control/daemon/saturation.h"
#include "control/daemon/startup.h"
#include "heap/heap.h"
#include "log/log.h"

#ifndef SLUICE_VERSION
#define SLUICE_VERSION "unknown"
#endif

enum {
	EXIT_REFUSED = 1,
	EXIT_USAGE = 2,
	MAX_SOCKET_PATH = 256,
};

struct options {
	const char *config_file;
	const char *run_dir;
	const char *state_dir;
	const char *user;
	const char *group;
	const char *log_level;
	bool is_check;
};

static const char usage[] =
	"usage: sluiced [-c FILE] [OPTION]...\n"
	"The control daemon of Sluice: keeps the desired state, brings the dataplane in step with\n"
	"it, and serves the API on RUN_DIR/control.sock.\n"
	"\n"
	"  -c, --config FILE     configuration (default /etc/sluice/sluice.yaml)\n"
	"      --run-dir DIR     sockets (default: run_dir of the configuration)\n"
	"      --state-dir DIR   state.json (default: state_dir of the configuration)\n"
	"      --user USER       become USER when started as root (default sluice)\n"
	"      --group GROUP     with this group (default: the user's), whose members may use the "
	"API\n"
	"      --log-level WORD  error, warning, info or debug (default info)\n"
	"      --check           judge the configuration, print the outcome, exit 0 or 1\n"
	"      --version         print the version\n"
	"      --help            print this\n"
	"\n"
	"Signals: HUP reads the configuration again (all or nothing), TERM and INT end.\n"
	"Exit: 0 done, 1 refused, 2 wrong usage.\n";

uint64_t daemon_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* -1: go on; else the exit code. */
static int parse_options(int argc, char **argv, struct options *options)
{
	enum { RUN_DIR = 256, STATE_DIR, USER, GROUP, LOG_LEVEL, CHECK, VERSION, HELP };
	static const struct option table[] = {
		{"config", required_argument, NULL, 'c'},
		{"run-dir", required_argument, NULL, RUN_DIR},
		{"state-dir", required_argument, NULL, STATE_DIR},
		{"user", required_argument, NULL, USER},
		{"group", required_argument, NULL, GROUP},
		{"log-level", required_argument, NULL, LOG_LEVEL},
		{"check", no_argument, NULL, CHECK},
		{"version", no_argument, NULL, VERSION},
		{"help", no_argument, NULL, HELP},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:", table, NULL)) != -1) {
		if (option == 'c')
			options->config_file = optarg;
		else if (option == RUN_DIR)
			options->run_dir = optarg;
		else if (option == STATE_DIR)
			options->state_dir = optarg;
		else if (option == USER)
			options->user = optarg;
		else if (option == GROUP)
			options->group = optarg;
		else if (option == LOG_LEVEL)
			options->log_level = optarg;
		else if (option == CHECK)
			options->is_check = true;
		else if (option == VERSION)
			return printf("sluiced %s\n", SLUICE_VERSION) < 0 ? EXIT_REFUSED : 0;
		else if (option == HELP)
			return fputs(usage, stdout) < 0 ? EXIT_REFUSED : 0;
		else
			return EXIT_USAGE;
	}
	if (optind < argc) {
		(void)fprintf(stderr, "sluiced: %s: no argument is expected here; see --help\n",
			      argv[optind]);
		return EXIT_USAGE;
	}
	return -1;
}

/* Folders and the public socket, which only root can make with the right owner; then no root. */
static int enter(const struct daemon *daemon, const struct privileges *privileges,
		 struct api_options *api, int *fd, char *error)
{
	uid_t run_uid = privileges->is_drop ? 0 : privileges->uid;
	int status;

	/* Sticky: the group may make and remove its own files there, not the dataplane's. */
	status = privileges_folder(daemon->run_dir, run_uid, privileges->gid,
				   privileges->is_drop ? 01775 : 0755, error);
	if (!status)
		status = privileges_folder(daemon->state_dir, privileges->uid, privileges->gid,
					   0700, error);
	if (!status)
		status = api_bind(api, fd, error);
	if (status)
		return status;
	status = privileges_drop(privileges, error);
	if (status)
		(void)close(*fd);
	return status;
}

static void on_end_signal(evutil_socket_t number, short events, void *context)
{
	struct daemon *daemon = context;

	(void)events;
	log_info("signal %d: ends", (int)number);
	(void)event_base_loopbreak(daemon->base);
}

static void on_reload_signal(evutil_socket_t number, short events, void *context)
{
	(void)number;
	(void)events;
	startup_reload(context);
}

static int serve(struct daemon *daemon)
{
	struct event *on_term = evsignal_new(daemon->base, SIGTERM, on_end_signal, daemon);
	struct event *on_int = evsignal_new(daemon->base, SIGINT, on_end_signal, daemon);
	struct event *on_hup = evsignal_new(daemon->base, SIGHUP, on_reload_signal, daemon);
	int code = EXIT_REFUSED;

	if (!on_term || !on_int || !on_hup || event_add(on_term, NULL) || event_add(on_int, NULL) ||
	    event_add(on_hup, NULL)) {
		log_err("signals: out of memory");
		goto out;
	}
	reconcile_start(daemon->reconcile);
	log_info("ready: %s/control.sock", daemon->run_dir);
	notify_send("READY=1");
	code = event_base_dispatch(daemon->base) < 0 ? EXIT_REFUSED : 0;
	notify_send("STOPPING=1");
out:
	if (on_term)
		event_free(on_term);
	if (on_int)
		event_free(on_int);
	if (on_hup)
		event_free(on_hup);
	return code;
}

/* Everything after the folders, as the user the daemon runs as. @fd is taken over. */
static int run(struct daemon *daemon, const struct config *config, uint64_t digest,
	       const struct api_options *api, int fd)
{
	char error[STARTUP_MAX_ERROR], path[MAX_SOCKET_PATH];
	int code = EXIT_REFUSED;

	if (startup_state(daemon, config, digest, error)) {
		log_err("%s", error);
		(void)unlink(api->path);
		(void)close(fd);
		return EXIT_REFUSED;
	}
	(void)snprintf(path, sizeof(path), "%s/dataplane.sock", daemon->run_dir);
	daemon->saturation = calloc(1, sizeof(*daemon->saturation));
	daemon->base = event_base_new();
	if (daemon->base)
		daemon->events = events_new();
	if (daemon->events)
		daemon->health = health_new(daemon, daemon->may_exec);
	health_follow(daemon->health, daemon->desired);
	if (daemon->health && change_make_live(daemon))
		daemon->reconcile = reconcile_new(daemon, path);
	if (daemon->reconcile)
		daemon->api = api_new(daemon, api, fd);
	else
		(void)close(fd);
	if (daemon->api)
		daemon->metrics = metrics_server_new(daemon, config->metrics_listen);
	if (daemon->metrics)
		code = serve(daemon);
	else
		log_err("out of memory");
	metrics_server_free(daemon->metrics);
	api_free(daemon->api);
	reconcile_free(daemon->reconcile);
	health_free(daemon->health);
	events_free(daemon->events);
	free(daemon->saturation);
	if (daemon->base)
		event_base_free(daemon->base);
	return code;
}

static const char *first_of(const char *a, const char *b, const char *c)
{
	return a && a[0] ? a : b && b[0] ? b : c;
}

/* A check is a descriptor, and there may be thousands at once. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		log_warn("RLIMIT_NOFILE: %s", strerror(errno));
}

static int start(const struct options *options, const struct config *config, uint64_t digest)
{
	struct daemon daemon = {
		.run_dir = first_of(options->run_dir, config->run_dir, "/run/sluice"),
		.state_dir = first_of(options->state_dir, config->state_dir, "/var/lib/sluice"),
		.config_file = options->config_file,
		.version = SLUICE_VERSION,
		.started_ns = daemon_now_ns(),
		.may_exec = config->health_exec,
	};
	const struct privileges_names names = {
		.user = first_of(options->user, config->user, NULL),
		.group = first_of(options->group, config->group, NULL),
		.api_group = first_of(config->api_group, NULL, NULL),
		.read_only_group = first_of(config->api_read_only_group, NULL, NULL),
	};
	struct privileges privileges;
	struct api_options api = {0};
	char error[STARTUP_MAX_ERROR], path[MAX_SOCKET_PATH];
	int fd, code;

	if (privileges_find(&names, &privileges, error)) {
		log_err("%s", error);
		return EXIT_REFUSED;
	}
	if (geteuid() == 0 && !privileges.is_drop)
		log_warn("user root: the daemon keeps root's rights, which it does not need");
	(void)snprintf(path, sizeof(path), "%s/control.sock", daemon.run_dir);
	api.path = path;
	api.owner = privileges.uid;
	api.group = privileges.api_gid;
	api.has_read_group = privileges.has_read_group;
	api.read_group = privileges.read_gid;
	if (enter(&daemon, &privileges, &api, &fd, error)) {
		log_err("%s", error);
		return EXIT_REFUSED;
	}
	raise_file_limit();
	code = run(&daemon, config, digest, &api, fd);
	former_fini(&daemon.former);
	desired_free(daemon.live);
	desired_free(daemon.desired);
	return code;
}

int main(int argc, char **argv)
{
	struct options options = {.config_file = "/etc/sluice/sluice.yaml"};
	struct config *config;
	char error[STARTUP_MAX_ERROR];
	enum log_level level = LOG_LEVEL_INFO;
	uint64_t digest;
	int code = parse_options(argc, argv, &options);

	if (code >= 0)
		return code;
	heap_keep();
	(void)signal(SIGPIPE, SIG_IGN);
	if (options.log_level && !log_level_from_name(options.log_level, &level)) {
		(void)fprintf(stderr,
			      "sluiced: --log-level %s: must be error, warning, info or debug\n",
			      options.log_level);
		return EXIT_USAGE;
	}
	log_open("sluiced", level);
	if (startup_read_file(options.config_file, &config, &digest, error)) {
		startup_log_error(error);
		return EXIT_REFUSED;
	}
	if (options.is_check)
		code = printf("%s: ok\n", options.config_file) < 0 ? EXIT_REFUSED : 0;
	else
		code = start(&options, config, digest);
	config_free(config);
	return code;
}
