/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * exec: a program of the operator's, with the daemon's rights, in a process group of its own, which is killed
 * if it is not done in time. Its end is seen on a descriptor of the process (pidfd_open).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/daemon/probe_internal.h"
#include "wire/wire_abi.h"

static void on_ended(evutil_socket_t fd, short events, void *context)
{
	struct probe *probe = context;
	int status = 0;

	(void)fd;
	(void)events;
	if (waitpid(probe->pid, &status, WNOHANG) != probe->pid)
		return;
	probe->pid = 0;
	probe->prober->n_programs--;
	if (WIFSIGNALED(status))
		(void)probe_end(probe, false, "killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) == 127)
		(void)probe_end(probe, false, "exit status 127: could it be executed?");
	else
		(void)probe_end(probe, WEXITSTATUS(status) == 0, "exit status %d",
				WEXITSTATUS(status));
}

/* Nothing but what the program is told, and where programs are. */
static int spawn(struct probe *probe, posix_spawn_file_actions_t *files, posix_spawnattr_t *how)
{
	char address[WIRE_ADDRESS_TEXT + 16], port[32];
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *environment[] = {path, address, port, NULL};
	char *arguments[] = {probe->check.command, NULL};
	char text[WIRE_ADDRESS_TEXT];
	sigset_t none, all;

	(void)wire_format_addr(&probe->target.addr, probe->target.family, text);
	(void)snprintf(address, sizeof(address), "SLUICE_ADDRESS=%s", text);
	(void)snprintf(port, sizeof(port), "SLUICE_PORT=%u", sl_from_be16(probe->target.port));
	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawnattr_setflags(how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						    POSIX_SPAWN_SETSIGDEF);
	(void)posix_spawnattr_setsigmask(how, &none);
	(void)posix_spawnattr_setsigdefault(how, &all);
	for (int fd = 0; fd <= 2; fd++)
		(void)posix_spawn_file_actions_addopen(files, fd, "/dev/null", O_RDWR, 0);
	(void)posix_spawn_file_actions_addclosefrom_np(files, 3);
	return posix_spawn(&probe->pid, probe->check.command, files, how, arguments, environment);
}

/* Those that were killed and had not died at once. */
static void reap(struct prober *prober)
{
	for (uint32_t i = 0; i < prober->n_dying;) {
		if (waitpid(prober->dying[i], NULL, WNOHANG) != 0)
			prober->dying[i] = prober->dying[--prober->n_dying];
		else
			i++;
	}
}

static bool start(struct probe *probe)
{
	struct prober *prober = probe->prober;
	posix_spawn_file_actions_t files;
	posix_spawnattr_t how;
	int error;

	if (!prober->may_exec)
		return probe_end(probe, true, "%s", ""); /* then nobody is down for it */
	reap(prober);
	if (prober->n_programs + prober->n_dying >= PROBE_MAX_PROGRAMS ||
	    posix_spawn_file_actions_init(&files))
		return false;
	(void)posix_spawnattr_init(&how);
	error = spawn(probe, &files, &how);
	(void)posix_spawnattr_destroy(&how);
	(void)posix_spawn_file_actions_destroy(&files);
	if (error) {
		probe->pid = 0;
		return probe_end(probe, false, "%.80s: %s", probe->check.command, strerror(error));
	}
	prober->n_programs++;
	probe->fd = (int)syscall(SYS_pidfd_open, probe->pid, 0);
	return probe->fd >= 0 && probe_watch(probe, EV_READ, on_ended);
}

static void stop(struct probe *probe)
{
	struct prober *prober = probe->prober;

	if (probe->pid == 0)
		return;
	(void)kill(-probe->pid, SIGKILL);
	prober->n_programs--;
	prober->dying[prober->n_dying++] = probe->pid;
	reap(prober);
}

const struct probe_kind probe_program = {.start = start, .stop = stop};
