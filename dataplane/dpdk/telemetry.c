/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "dataplane/dpdk/telemetry.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_telemetry.h>

#include "dataplane/dpdk/engine.h"
#include "wire/wire_abi.h"

/* DPDK cuts an answer at 16 KiB and says nothing: ours end before that, and say where to go on. */
enum {
	MAX_WAIT_SEC = 2, /* for the control thread; a commit of all that there may be takes less */
	MAX_NAMES_BYTES = 8192, /* of the services of one answer */
	MAX_BACKENDS = 32,      /* of one answer */
	MAX_BACKENDS_BYTES = 14336,
#define X(name, unit, help) +1
	N_BACKEND_COUNTERS = 0 SL_BACKEND_COUNTER_LIST(X),
#undef X
	/* Of a backend: its address, 32 bytes of words and small numbers, and counters of 20 digits. */
	BACKEND_BYTES = WIRE_ADDRESS_TEXT + 32 + N_BACKEND_COUNTERS * 21,
};

_Static_assert(MAX_BACKENDS_BYTES / MAX_BACKENDS >= BACKEND_BYTES, "backends of an answer fit it");
_Static_assert(SL_MAX_WORKERS <= RTE_TEL_MAX_ARRAY_ENTRIES, "workers fit a column");
_Static_assert(SL_N_VERDICTS + SL_N_EVENTS <= RTE_TEL_MAX_DICT_ENTRIES, "all counters fit");

/**
 * Fills @data, which is as DPDK gave it; on an error it is not touched. @parameter: what stands after
 * the command's comma, NULL if there is none. Control thread. 0 or negative errno.
 */
typedef int answer_function(struct dataplane *dataplane, const char *parameter,
			    struct rte_tel_data *data);

/** A command under way; it lives on the stack of the thread that waits. */
struct question {
	answer_function *answer;
	const char *parameter;
	struct rte_tel_data *data;
	int status;
	bool is_answered;
};

/* DPDK's callbacks have no context. All is under the lock, which is held while an answer is written. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct dataplane *dataplane; /* NULL: nobody answers */
	struct event *asked;         /* of the control thread's loop, on fd */
	struct question *question;   /* NULL: it is the next one's turn */
	int fd;                      /* an eventfd that wakes the control thread */
} telemetry = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .fd = -1};

/*
 * DPDK 22.11 has no lists of objects: records are told by columns, a list for each member. A column
 * that there is no memory for is left out.
 */
static void add_numbers(struct rte_tel_data *data, const char *name, const uint64_t *value,
			uint32_t n)
{
	struct rte_tel_data *column = rte_tel_data_alloc();

	if (column == NULL)
		return;
	rte_tel_data_start_array(column, RTE_TEL_U64_VAL);
	for (uint32_t i = 0; i < n; i++)
		rte_tel_data_add_array_u64(column, value[i]);
	rte_tel_data_add_dict_container(data, name, column, 0);
}

static void add_texts(struct rte_tel_data *data, const char *name, const char *const *text,
		      uint32_t n)
{
	struct rte_tel_data *column = rte_tel_data_alloc();

	if (column == NULL)
		return;
	rte_tel_data_start_array(column, RTE_TEL_STRING_VAL);
	for (uint32_t i = 0; i < n; i++)
		rte_tel_data_add_array_string(column, text[i]);
	rte_tel_data_add_dict_container(data, name, column, 0);
}

/* A column of a member of @n records; @value and @text are arrays of as many. */
#define ADD_NUMBERS(data, name, n, value, expression)                                              \
	do {                                                                                       \
		for (uint32_t i = 0; i < (n); i++)                                                 \
			(value)[i] = (expression);                                                 \
		add_numbers(data, name, value, n);                                                 \
	} while (0)
#define ADD_TEXTS(data, name, n, text, expression)                                                 \
	do {                                                                                       \
		for (uint32_t i = 0; i < (n); i++)                                                 \
			(text)[i] = (expression);                                                  \
		add_texts(data, name, text, n);                                                    \
	} while (0)

static int answer_status(struct dataplane *dataplane, const char *parameter SL_UNUSED,
			 struct rte_tel_data *data)
{
	const struct snapshot *snapshot = dataplane->snapshot;
	struct wire_status_reply reply = {0};
	char digest[17];

	dataplane_status(dataplane, &reply);
	snprintf(digest, sizeof(digest), "%016" PRIx64, snapshot != NULL ? snapshot->digest : 0);
	rte_tel_data_start_dict(data);
	rte_tel_data_add_dict_string(data, "engine", dataplane_engine());
	rte_tel_data_add_dict_string(data, "engine_reason", reply.engine_reason);
	rte_tel_data_add_dict_u64(data, "generation", snapshot != NULL ? snapshot->generation : 0);
	rte_tel_data_add_dict_string(data, "digest", digest);
	rte_tel_data_add_dict_u64(data, "services",
				  snapshot != NULL ? snapshot->n_live_services : 0);
	rte_tel_data_add_dict_u64(
		data, "backends",
		snapshot != NULL ? snapshot->n_live_backends - snapshot->n_outsides : 0);
	rte_tel_data_add_dict_u64(data, "ports", reply.n_ports);
	rte_tel_data_add_dict_u64(data, "workers", reply.n_workers);
	rte_tel_data_add_dict_u64(data, "max_workers", reply.max_workers);
	rte_tel_data_add_dict_u64(data, "former_workers", reply.n_former);
	rte_tel_data_add_dict_u64(data, "flows", reply.flows);
	rte_tel_data_add_dict_u64(data, "flows_embryonic", reply.flows_embryonic);
	rte_tel_data_add_dict_u64(data, "flows_capacity", reply.flows_capacity);
	rte_tel_data_add_dict_u64(data, "flows_handed", reply.flows_handed);
	rte_tel_data_add_dict_u64(data, "memory_bytes", reply.memory_bytes);
	return 0;
}

static int answer_workers(struct dataplane *dataplane, const char *parameter SL_UNUSED,
			  struct rte_tel_data *data)
{
	struct wire_worker_record record[SL_MAX_WORKERS] = {0};
	uint32_t n = dataplane_workers(dataplane, false, record);
	const char *text[SL_MAX_WORKERS];
	uint64_t value[SL_MAX_WORKERS];

	rte_tel_data_start_dict(data);
	ADD_TEXTS(data, "state", n, text, wire_worker_state_name(record[i].state));
#define X(member) ADD_NUMBERS(data, #member, n, value, record[i].member);
	X(core)
	X(loops)
	X(busy_loops)
	X(full_loops)
	X(busy_ns)
	X(longest_loop_ns)
	X(heartbeat_age_ns)
	X(flows)
#undef X
	return 0;
}

static int answer_ports(struct dataplane *dataplane, const char *parameter SL_UNUSED,
			struct rte_tel_data *data)
{
	struct wire_port_record record[SL_MAX_PORTS] = {0};
	uint32_t n = dataplane_ports(dataplane, record);
	const char *text[SL_MAX_PORTS];
	uint64_t value[SL_MAX_PORTS];

	rte_tel_data_start_dict(data);
#define X(member) ADD_TEXTS(data, #member, n, text, record[i].member);
	X(name)
	X(driver)
	X(kernel_interface)
#undef X
#define X(member) ADD_NUMBERS(data, #member, n, value, record[i].member);
	X(is_up)
	X(speed_mbps)
	X(mtu)
	X(rx_packets)
	X(rx_bytes)
	X(rx_missed)
	X(rx_nombuf)
	X(tx_packets)
	X(tx_bytes)
	X(tx_errors)
	X(buffers_in_use)
#undef X
	return 0;
}

static int answer_counters(struct dataplane *dataplane, const char *parameter SL_UNUSED,
			   struct rte_tel_data *data)
{
	struct wire_counters_reply reply = {0};
	int status = dataplane_counters(dataplane, WIRE_ALL_WORKERS, &reply);

	if (status != 0)
		return status;
	rte_tel_data_start_dict(data);
#define X(upper, lower, help)                                                                      \
	rte_tel_data_add_dict_u64(data, "verdicts/" #lower, reply.verdict[SL_VERDICT_##upper]);
	SL_VERDICT_LIST(X)
#undef X
#define X(upper, lower, unit, help)                                                                \
	rte_tel_data_add_dict_u64(data, "events/" #lower, reply.event[SL_EVENT_##upper]);
	SL_EVENT_LIST(X)
#undef X
	return 0;
}

/* A position to go on from, in decimals; NULL: from the start. False: it is none. */
static bool read_first(const char *text, uint32_t *first)
{
	unsigned long number = 0;
	char *end;

	*first = 0;
	if (text == NULL)
		return true;
	number = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || number > SL_MAX_SERVICES)
		return false;
	*first = (uint32_t)number;
	return true;
}

static bool is_service(const struct snapshot *snapshot, uint32_t index)
{
	return snapshot->service[index].family != SL_FAMILY_NONE;
}

static int answer_services(struct dataplane *dataplane, const char *parameter,
			   struct rte_tel_data *data)
{
	const struct snapshot *snapshot = dataplane->snapshot;
	const char *name[RTE_TEL_MAX_ARRAY_ENTRIES];
	uint32_t n_indices = snapshot != NULL ? snapshot->n_services : 0;
	size_t bytes = 0;
	uint32_t n = 0;
	uint32_t i;

	if (!read_first(parameter, &i))
		return -EINVAL;
	for (; i < n_indices && n < RTE_TEL_MAX_ARRAY_ENTRIES && bytes < MAX_NAMES_BYTES; i++) {
		if (!is_service(snapshot, i))
			continue;
		name[n] = snapshot->service_name[i];
		bytes += strlen(name[n++]) + strlen("\"\",");
	}
	rte_tel_data_start_dict(data);
	rte_tel_data_add_dict_u64(data, "services",
				  snapshot != NULL ? snapshot->n_live_services : 0);
	rte_tel_data_add_dict_u64(data, "next", i < n_indices ? i : 0);
	add_texts(data, "name", name, n);
	return 0;
}

/* The index of the service whose name the first @length bytes of @name are, or SL_NO_INDEX. */
static uint32_t find_name(const struct snapshot *snapshot, const char *name, size_t length)
{
	for (uint32_t i = 0; snapshot != NULL && i < snapshot->n_services; i++)
		if (is_service(snapshot, i) && strlen(snapshot->service_name[i]) == length &&
		    memcmp(snapshot->service_name[i], name, length) == 0)
			return i;
	return SL_NO_INDEX;
}

static void add_service(struct dataplane *dataplane, uint32_t index, struct rte_tel_data *data)
{
	const struct sl_service *service = &dataplane->snapshot->service[index];
	const struct wire_address address = {.addr = service->addr,
					     .port = service->port,
					     .protocol = service->protocol,
					     .family = service->family};
	struct wire_service_counters_reply reply = {0};
	char text[WIRE_ADDRESS_TEXT];

	rte_tel_data_add_dict_string(data, "name", dataplane->snapshot->service_name[index]);
	rte_tel_data_add_dict_string(data, "address", wire_format_address(&address, text));
	rte_tel_data_add_dict_string(data, "mode", wire_mode_name(service->mode));
	dataplane_service_counters(dataplane, index, &reply);
#define X(name, unit, help) rte_tel_data_add_dict_u64(data, #name, reply.name);
	SL_SERVICE_COUNTER_LIST(X)
#undef X
}

/* Columns of @n of the service's members, at most MAX_BACKENDS, from position @first on. */
static void add_backends(struct dataplane *dataplane, const struct sl_service *service,
			 uint32_t first, uint32_t n, struct rte_tel_data *data)
{
	const struct snapshot *snapshot = dataplane->snapshot;
	const uint32_t *member = &snapshot->member[service->first_member + first];
	const uint8_t *state = &snapshot->member_state[service->first_member + first];
	const uint8_t *health = &snapshot->member_health[service->first_member + first];
	struct wire_backend_counters_record record[MAX_BACKENDS] = {0};
	char address[MAX_BACKENDS][WIRE_ADDRESS_TEXT];
	const char *text[MAX_BACKENDS];
	uint64_t value[MAX_BACKENDS];

	for (uint32_t i = 0; i < n; i++) {
		const struct sl_backend *backend = &snapshot->backend[member[i]];

		dataplane_backend_counters(dataplane, member[i], &record[i]);
		wire_format_endpoint(&backend->addr, backend->port, service->family, address[i]);
	}
	ADD_TEXTS(data, "backend_address", n, text, address[i]);
	ADD_TEXTS(data, "backend_state", n, text, wire_state_name(state[i]));
	ADD_TEXTS(data, "backend_health", n, text, wire_health_name(health[i]));
	ADD_NUMBERS(data, "backend_weight", n, value,
		    snapshot->backend[member[i]].weight[SL_AUDIENCE_ALL]);
	ADD_NUMBERS(data, "backend_neighbour", n, value, record[i].has_neighbour);
#define X(name, unit, help) ADD_NUMBERS(data, "backend_" #name, n, value, record[i].name);
	SL_BACKEND_COUNTER_LIST(X)
#undef X
}

/* "NAME" or "NAME,FIRST": no name has a comma. */
static int answer_service(struct dataplane *dataplane, const char *parameter,
			  struct rte_tel_data *data)
{
	const struct snapshot *snapshot = dataplane->snapshot;
	size_t length = parameter != NULL ? strcspn(parameter, ",") : 0;
	const struct sl_service *service;
	uint32_t n_backends;
	uint32_t index;
	uint32_t first;
	uint32_t n;

	if (length == 0 ||
	    !read_first(parameter[length] == ',' ? parameter + length + 1 : NULL, &first))
		return -EINVAL;
	index = find_name(snapshot, parameter, length);
	if (index == SL_NO_INDEX)
		return -ENOENT;
	service = &snapshot->service[index];
	/* What stands for the outside is nobody's backend. */
	n_backends = service->mode == WIRE_MODE_SNAT ? 0 : service->n_members;
	if (first > n_backends)
		return -EINVAL;
	n = n_backends - first < MAX_BACKENDS ? n_backends - first : MAX_BACKENDS;
	rte_tel_data_start_dict(data);
	add_service(dataplane, index, data);
	rte_tel_data_add_dict_u64(data, "backends", n_backends);
	rte_tel_data_add_dict_u64(data, "next", first + n < n_backends ? first + n : 0);
	add_backends(dataplane, service, first, n, data);
	return 0;
}

static const struct command {
	const char *name;
	answer_function *answer;
	const char *help; /* 63 bytes at most */
} commands[] = {
	{"/sluice/counters", answer_counters, "Verdicts and events of all workers. No parameters"},
	{"/sluice/ports", answer_ports, "Ports, a list for each member. No parameters"},
	{"/sluice/service", answer_service, "Counters and backends. Parameters: NAME[,FIRST]"},
	{"/sluice/services", answer_services, "Names of services. Parameters: [FIRST]"},
	{"/sluice/status", answer_status, "Generation, sizes and flows. No parameters"},
	{"/sluice/workers", answer_workers, "Workers, a list for each member. No parameters"},
};

/* Until something has changed, or @end. 0 or ETIMEDOUT. */
static int wait_for_change(const struct timespec *end)
{
	return pthread_cond_clockwait(&telemetry.changed, &telemetry.lock, CLOCK_MONOTONIC, end);
}

/* Puts the question to the control thread, after other clients', and waits MAX_WAIT_SEC at most. */
static int ask(struct question *question)
{
	struct timespec end;
	int status = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += MAX_WAIT_SEC;
	pthread_mutex_lock(&telemetry.lock);
	while (telemetry.question != NULL && status == 0)
		status = wait_for_change(&end);
	if (status == 0 && telemetry.dataplane == NULL)
		status = ESHUTDOWN;
	if (status == 0) {
		telemetry.question = question;
		(void)eventfd_write(telemetry.fd, 1);
		while (!question->is_answered && status == 0)
			status = wait_for_change(&end);
		telemetry.question = NULL;
		pthread_cond_broadcast(&telemetry.changed);
	}
	pthread_mutex_unlock(&telemetry.lock);
	return question->is_answered ? question->status : -status;
}

/* DPDK's, in a client's thread. */
static int on_command(const char *name, const char *parameter, struct rte_tel_data *data)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(commands); i++) {
		struct question question = {
			.answer = commands[i].answer, .parameter = parameter, .data = data};

		if (strcmp(name, commands[i].name) == 0)
			return ask(&question);
	}
	return -ENOENT;
}

static void on_question(evutil_socket_t fd, short what SL_UNUSED, void *data SL_UNUSED)
{
	struct question *question;
	eventfd_t n;

	(void)eventfd_read(fd, &n);
	pthread_mutex_lock(&telemetry.lock);
	question = telemetry.question; /* NULL: its thread had waited long enough */
	if (question != NULL && !question->is_answered) {
		question->status =
			question->answer(telemetry.dataplane, question->parameter, question->data);
		question->is_answered = true;
		pthread_cond_broadcast(&telemetry.changed);
	}
	pthread_mutex_unlock(&telemetry.lock);
}

int telemetry_start(struct dataplane *dataplane, char *error)
{
	int status = 0;

	telemetry.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	telemetry.asked = telemetry.fd < 0 ? NULL
					   : event_new(dataplane->base, telemetry.fd,
						       EV_READ | EV_PERSIST, on_question, NULL);
	if (telemetry.asked == NULL || event_add(telemetry.asked, NULL) != 0)
		status = -ENOMEM;
	for (size_t i = 0; i < SL_ARRAY_LEN(commands) && status == 0; i++)
		status = rte_telemetry_register_cmd(commands[i].name, on_command, commands[i].help);
	if (status != 0) {
		snprintf(error, SL_MAX_ERROR, "telemetry: %s", strerror(-status));
		return status;
	}
	pthread_mutex_lock(&telemetry.lock);
	telemetry.dataplane = dataplane;
	pthread_mutex_unlock(&telemetry.lock);
	return 0;
}

void telemetry_stop(void)
{
	pthread_mutex_lock(&telemetry.lock);
	telemetry.dataplane = NULL;
	if (telemetry.question != NULL && !telemetry.question->is_answered) {
		telemetry.question->status = -ESHUTDOWN;
		telemetry.question->is_answered = true;
		pthread_cond_broadcast(&telemetry.changed);
	}
	pthread_mutex_unlock(&telemetry.lock);
	if (telemetry.asked != NULL)
		event_free(telemetry.asked);
	if (telemetry.fd >= 0)
		close(telemetry.fd);
	telemetry.asked = NULL;
	telemetry.fd = -1;
}

/* Whether the thread of this number is one that DPDK made for the socket or, by it, for a client. */
static bool is_of_telemetry(const char *task)
{
	static const char name[] = "telemetry-v";
	char path[64];
	char comm[sizeof(name)] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", task);
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	if (fgets(comm, sizeof(comm), file) == NULL)
		comm[0] = '\0';
	fclose(file);
	return strcmp(comm, name) == 0;
}

void telemetry_move(const cpu_set_t *cores)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;

	if (tasks == NULL)
		return;
	while ((task = readdir(tasks)) != NULL)
		if (is_of_telemetry(task->d_name))
			(void)sched_setaffinity((pid_t)strtol(task->d_name, NULL, 10),
						sizeof(*cores), cores);
	closedir(tasks);
}
