/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The private protocol from the requester's side. One request is under way at a time; whatever does
 * not fit (a late answer, another id, a wrong length) ends the connection, because after it nobody
 * knows which answer belongs to what.
 */
#include "control/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "wire/wire_abi.h"

struct client {
	int fd;       /* open until client_free, so that its number is not another's meanwhile */
	bool is_gone; /* shut down; a waiter on fd sees the end */
	uint32_t last_id;
	struct wire_hello_reply hello;
	char error[SL_MAX_ERROR];
	_Alignas(16) uint8_t message[WIRE_MAX_MESSAGE]; /* request, then its reply */
};

static int disconnect(struct client *client, const char *why)
{
	if (!client->is_gone)
		(void)shutdown(client->fd, SHUT_RDWR);
	client->is_gone = true;
	(void)snprintf(client->error, sizeof(client->error), "%s", why);
	return -ENOTCONN;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits for @events until @deadline; 0, or the connection is closed. */
static int wait_for(struct client *client, short events, uint64_t deadline)
{
	for (;;) {
		uint64_t now = now_ms();
		struct pollfd poll_fd = {.fd = client->fd, .events = events};
		int n = poll(&poll_fd, 1, deadline > now ? (int)(deadline - now) : 0);

		if (n > 0)
			return 0;
		if (n == 0)
			return disconnect(client, "no answer in time");
		if (errno != EINTR)
			return disconnect(client, strerror(errno));
	}
}

static int send_message(struct client *client, size_t length, uint64_t deadline)
{
	for (;;) {
		ssize_t sent = send(client->fd, client->message, length, MSG_NOSIGNAL);

		if (sent == (ssize_t)length)
			return 0;
		if (sent >= 0)
			return disconnect(client, "a message was cut");
		if (errno == EAGAIN) {
			int status = wait_for(client, POLLOUT, deadline);

			if (status)
				return status;
		} else if (errno != EINTR) {
			return disconnect(client, strerror(errno));
		}
	}
}

/* Receives the answer to the last request and checks its header. */
static int receive_message(struct client *client, uint16_t type, uint64_t deadline)
{
	struct wire_header header;
	ssize_t length;

	do {
		int status = wait_for(client, POLLIN, deadline);

		if (status)
			return status;
		length = recv(client->fd, client->message, sizeof(client->message), MSG_TRUNC);
	} while (length < 0 && (errno == EINTR || errno == EAGAIN));
	if (length < 0)
		return disconnect(client, strerror(errno));
	if (length == 0)
		return disconnect(client, "connection closed");
	if ((size_t)length < sizeof(header) || (size_t)length > sizeof(client->message))
		return disconnect(client, "an answer of a wrong length");
	memcpy(&header, client->message, sizeof(header));
	if (header.length != (uint32_t)length || header.type != type ||
	    header.id != client->last_id || header.status > 0)
		return disconnect(client, "an answer with a wrong header");
	return 0;
}

/* A refusal's text, cut to what fits and ended. */
static int take_refusal(struct client *client, const struct wire_header *header)
{
	size_t length = header->length - sizeof(*header);

	if (length >= sizeof(client->error))
		length = sizeof(client->error) - 1;
	memcpy(client->error, client->message + sizeof(*header), length);
	client->error[length] = '\0';
	if (client->error[0] == '\0')
		(void)snprintf(client->error, sizeof(client->error), "%s",
			       strerror(-header->status));
	return header->status == -ENOTCONN ? -EIO : header->status;
}

/* What goes out after the header: a fixed body, then records; each may be absent. */
struct request {
	uint16_t type;
	const void *body;
	size_t body_length;
	const void *records;
	size_t records_length;
};

static int send_request(struct client *client, const struct request *request, uint64_t deadline)
{
	size_t length = sizeof(struct wire_header) + request->body_length + request->records_length;
	struct wire_header header = {
		.length = (uint32_t)length,
		.type = request->type,
		.id = ++client->last_id,
	};
	uint8_t *at = client->message;

	if (length > sizeof(client->message))
		return -EMSGSIZE;
	memcpy(at, &header, sizeof(header));
	at += sizeof(header);
	memcpy(at, request->body, request->body_length);
	at += request->body_length;
	if (request->records_length)
		memcpy(at, request->records, request->records_length);
	return send_message(client, length, deadline);
}

/*
 * Receives the reply, whose fixed part of @reply_length bytes goes to @reply; what follows it stays
 * in client->message from @rest, @rest_length bytes.
 */
static int receive_reply(struct client *client, uint16_t type, uint64_t deadline, void *reply,
			 size_t reply_length, const uint8_t **rest, size_t *rest_length)
{
	struct wire_header header;
	size_t length;
	int status = receive_message(client, type, deadline);

	if (status)
		return status;
	memcpy(&header, client->message, sizeof(header));
	if (header.status)
		return take_refusal(client, &header);
	length = header.length - sizeof(header);
	if (length < reply_length || (!rest && length != reply_length))
		return disconnect(client, "an answer of a wrong length");
	memcpy(reply, client->message + sizeof(header), reply_length);
	if (rest) {
		*rest = client->message + sizeof(header) + reply_length;
		*rest_length = length - reply_length;
	}
	return 0;
}

static int call(struct client *client, const struct request *request, int timeout_ms, void *reply,
		size_t reply_length, const uint8_t **rest, size_t *rest_length)
{
	uint64_t deadline = now_ms() + (uint64_t)timeout_ms;
	int status;

	if (client->is_gone)
		return -ENOTCONN;
	client->error[0] = '\0';
	status = send_request(client, request, deadline);
	if (status)
		return status;
	return receive_reply(client, request->type, deadline, reply, reply_length, rest,
			     rest_length);
}

/* A call whose request and reply are of fixed size. */
static int call_fixed(struct client *client, uint16_t type, const void *body, size_t body_length,
		      void *reply, size_t reply_length)
{
	struct request request = {.type = type, .body = body, .body_length = body_length};

	return call(client, &request, CLIENT_TIMEOUT_MS, reply, reply_length, NULL, NULL);
}

/* Copies @n records that came, after checking that they are as many as said and not too many. */
static int take_records(struct client *client, uint32_t n, uint32_t max, size_t size,
			const uint8_t *rest, size_t rest_length, void *record)
{
	if (n > max || (size_t)n * size != rest_length)
		return disconnect(client, "an answer with a wrong number of records");
	memcpy(record, rest, rest_length);
	return 0;
}

static int connect_socket(const char *path, char *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, status;

	if (strlen(path) >= sizeof(address.sun_path)) {
		(void)snprintf(error, SL_MAX_ERROR, "path of %zu bytes, the limit is %zu",
			       strlen(path), sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		status = -errno;
		(void)snprintf(error, SL_MAX_ERROR, "socket: %s", strerror(-status));
		return status;
	}
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
		status = -errno;
		(void)snprintf(error, SL_MAX_ERROR, "connect: %s", strerror(-status));
		(void)close(fd);
		return status;
	}
	return fd;
}

int client_open(const char *path, struct client **out, char *error)
{
	struct wire_hello_request hello = {
		.magic = WIRE_MAGIC,
		.version = WIRE_VERSION,
		.abi_hash = wire_abi_hash(),
	};
	struct request request = {
		.type = WIRE_HELLO,
		.body = &hello,
		.body_length = sizeof(hello),
	};
	struct client *client;
	int fd = connect_socket(path, error);
	int status;

	if (fd < 0)
		return fd;
	client = calloc(1, sizeof(*client));
	if (!client) {
		(void)close(fd);
		(void)snprintf(error, SL_MAX_ERROR, "out of memory");
		return -ENOMEM;
	}
	client->fd = fd;
	status = send_request(client, &request, now_ms());
	if (status) {
		(void)snprintf(error, SL_MAX_ERROR, "%s", client->error);
		client_free(client);
		return status;
	}
	*out = client;
	return 0;
}

int client_greet(struct client *client)
{
	struct wire_hello_reply *hello = &client->hello;
	int status;

	if (client->is_gone)
		return -ENOTCONN;
	status = receive_reply(client, WIRE_HELLO, now_ms() + CLIENT_TIMEOUT_MS, hello,
			       sizeof(*hello), NULL, NULL);
	if (status)
		return status;
	hello->engine[sizeof(hello->engine) - 1] = '\0';
	hello->program_version[sizeof(hello->program_version) - 1] = '\0';
	if (hello->magic != WIRE_MAGIC || hello->version != WIRE_VERSION ||
	    hello->abi_hash != wire_abi_hash()) {
		char text[160];

		(void)snprintf(text, sizeof(text),
			       "protocol version %u, ABI %016llx; this daemon speaks version %d, "
			       "ABI %016llx: install programs of one release",
			       hello->version, (unsigned long long)hello->abi_hash, WIRE_VERSION,
			       (unsigned long long)wire_abi_hash());
		(void)disconnect(client, text);
		return -EPROTO;
	}
	return 0;
}

int client_connect(const char *path, struct client **out, char *error)
{
	struct client *client;
	int status = client_open(path, &client, error);

	if (status)
		return status;
	status = client_greet(client);
	if (status) {
		(void)snprintf(error, SL_MAX_ERROR, "%s", client->error);
		client_free(client);
		return status;
	}
	*out = client;
	return 0;
}

void client_free(struct client *client)
{
	if (!client)
		return;
	(void)close(client->fd);
	free(client);
}

int client_fd(const struct client *client)
{
	return client->fd;
}

bool client_is_alive(struct client *client)
{
	uint8_t byte;
	ssize_t length;

	if (client->is_gone)
		return false;
	length = recv(client->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	(void)disconnect(client, length == 0  ? "connection closed"
				 : length > 0 ? "an answer that nobody asked for"
					      : strerror(errno));
	return false;
}

const char *client_error(const struct client *client)
{
	return client->error;
}

const struct wire_hello_reply *client_hello(const struct client *client)
{
	return &client->hello;
}

int client_status(struct client *client, struct wire_status_reply *reply)
{
	struct wire_status_request body = {0};
	int status = call_fixed(client, WIRE_STATUS, &body, sizeof(body), reply, sizeof(*reply));

	if (status)
		return status;
	reply->engine[sizeof(reply->engine) - 1] = '\0';
	reply->engine_reason[sizeof(reply->engine_reason) - 1] = '\0';
	return 0;
}

int client_begin(struct client *client, uint64_t generation, uint64_t base_generation,
		 const struct sl_hash_key *key)
{
	struct wire_begin_request body = {
		.generation = generation,
		.base_generation = base_generation,
		.hash_key = *key,
	};
	struct wire_begin_reply reply;

	return call_fixed(client, WIRE_BEGIN, &body, sizeof(body), &reply, sizeof(reply));
}

/* Records of @size bytes that one message takes. */
static size_t records_per_message(size_t size)
{
	size_t n = (WIRE_MAX_MESSAGE - sizeof(struct wire_header) -
		    sizeof(struct wire_services_request)) /
		   size;

	return n < WIRE_MAX_RECORDS ? n : WIRE_MAX_RECORDS;
}

/* SERVICES, BACKENDS and DENIES have requests and replies of one shape. */
static int call_array(struct client *client, uint16_t type, const void *records, size_t size,
		      size_t n_records)
{
	const size_t room = records_per_message(size);

	for (size_t done = 0; done < n_records;) {
		size_t left = n_records - done;
		size_t n = left < room ? left : room;
		struct wire_services_request body = {.n_records = (uint32_t)n};
		struct wire_services_reply reply;
		struct request request = {
			.type = type,
			.body = &body,
			.body_length = sizeof(body),
			.records = (const uint8_t *)records + done * size,
			.records_length = n * size,
		};
		int status = call(client, &request, CLIENT_TIMEOUT_MS, &reply, sizeof(reply), NULL,
				  NULL);

		if (status)
			return status;
		done += n;
	}
	return 0;
}

_Static_assert(sizeof(struct wire_services_request) == sizeof(struct wire_backends_request) &&
		       sizeof(struct wire_services_request) == sizeof(struct wire_listed_request) &&
		       sizeof(struct wire_services_reply) == sizeof(struct wire_backends_reply) &&
		       sizeof(struct wire_services_reply) == sizeof(struct wire_listed_reply),
	       "call_array serves all");

int client_services(struct client *client, const struct wire_service *record, size_t n_records)
{
	return call_array(client, WIRE_SERVICES, record, sizeof(*record), n_records);
}

int client_backends(struct client *client, const struct wire_backend *record, size_t n_records)
{
	return call_array(client, WIRE_BACKENDS, record, sizeof(*record), n_records);
}

int client_listed(struct client *client, const struct wire_listed *record, size_t n_records)
{
	return call_array(client, WIRE_LISTED, record, sizeof(*record), n_records);
}

int client_service_delete(struct client *client, const struct wire_address *service)
{
	struct wire_service_delete_request body = {.service = *service};
	struct wire_service_delete_reply reply;

	return call_fixed(client, WIRE_SERVICE_DELETE, &body, sizeof(body), &reply, sizeof(reply));
}

int client_backend_delete(struct client *client, const struct wire_backend_delete_request *request)
{
	struct wire_backend_delete_reply reply;

	return call_fixed(client, WIRE_BACKEND_DELETE, request, sizeof(*request), &reply,
			  sizeof(reply));
}

int client_commit(struct client *client, bool is_dry_run, struct wire_commit_reply *reply)
{
	struct wire_commit_request body = {.is_dry_run = is_dry_run};
	struct request request = {
		.type = WIRE_COMMIT,
		.body = &body,
		.body_length = sizeof(body),
	};

	return call(client, &request, CLIENT_COMMIT_TIMEOUT_MS, reply, sizeof(*reply), NULL, NULL);
}

int client_abort(struct client *client)
{
	struct wire_abort_request body = {0};
	struct wire_abort_reply reply;

	return call_fixed(client, WIRE_ABORT, &body, sizeof(body), &reply, sizeof(reply));
}

int client_plan(struct client *client, struct wire_plan_reply *reply)
{
	struct wire_plan_request body = {0};
	struct request request = {.type = WIRE_PLAN, .body = &body, .body_length = sizeof(body)};

	return call(client, &request, CLIENT_COMMIT_TIMEOUT_MS, reply, sizeof(*reply), NULL, NULL);
}

int client_plan_flows(struct client *client, uint64_t cursor, struct wire_plan_flows_reply *reply)
{
	struct wire_plan_flows_request body = {.cursor = cursor};

	return call_fixed(client, WIRE_PLAN_FLOWS, &body, sizeof(body), reply, sizeof(*reply));
}

/* PLAN_SERVICES and PLAN_BACKENDS have requests and replies of one shape. */
static int call_page(struct client *client, uint16_t type, uint32_t first, void *record,
		     size_t size, uint32_t *n_records, uint32_t *next)
{
	struct wire_plan_services_request body = {.first = first};
	struct wire_plan_services_reply reply;
	struct request request = {.type = type, .body = &body, .body_length = sizeof(body)};
	const uint8_t *rest;
	size_t rest_length;
	int status = call(client, &request, CLIENT_TIMEOUT_MS, &reply, sizeof(reply), &rest,
			  &rest_length);

	if (status)
		return status;
	*n_records = reply.n_records;
	*next = reply.next;
	return take_records(client, reply.n_records, WIRE_MAX_RECORDS, size, rest, rest_length,
			    record);
}

_Static_assert(sizeof(struct wire_plan_services_request) ==
			       sizeof(struct wire_plan_backends_request) &&
		       sizeof(struct wire_plan_services_reply) ==
			       sizeof(struct wire_plan_backends_reply) &&
		       sizeof(struct wire_plan_services_request) ==
			       sizeof(struct wire_affinities_request) &&
		       sizeof(struct wire_plan_services_reply) ==
			       sizeof(struct wire_affinities_reply),
	       "call_page serves all");

int client_plan_services(struct client *client, uint32_t first, struct wire_plan_service *record,
			 uint32_t *n_records, uint32_t *next)
{
	int status = call_page(client, WIRE_PLAN_SERVICES, first, record, sizeof(*record),
			       n_records, next);

	for (uint32_t i = 0; !status && i < *n_records; i++)
		record[i].name[sizeof(record[i].name) - 1] = '\0';
	return status;
}

int client_plan_backends(struct client *client, uint32_t first, struct wire_plan_backend *record,
			 uint32_t *n_records, uint32_t *next)
{
	return call_page(client, WIRE_PLAN_BACKENDS, first, record, sizeof(*record), n_records,
			 next);
}

int client_counters(struct client *client, uint32_t worker, struct wire_counters_reply *reply)
{
	struct wire_counters_request body = {.worker = worker};

	return call_fixed(client, WIRE_COUNTERS, &body, sizeof(body), reply, sizeof(*reply));
}

int client_service_counters(struct client *client, const struct wire_address *service,
			    struct wire_service_counters_reply *reply)
{
	struct wire_service_counters_request body = {.service = *service};

	return call_fixed(client, WIRE_SERVICE_COUNTERS, &body, sizeof(body), reply,
			  sizeof(*reply));
}

/* BACKEND_COUNTERS and BACKEND_OPENINGS have requests and replies of one shape. */
static int call_service_page(struct client *client, uint16_t type,
			     const struct wire_address *service, uint32_t first, void *record,
			     size_t size, uint32_t *n_records, uint32_t *next)
{
	struct wire_backend_counters_request body = {.service = *service, .first = first};
	struct wire_backend_counters_reply reply;
	struct request request = {.type = type, .body = &body, .body_length = sizeof(body)};
	const uint8_t *rest;
	size_t rest_length;
	int status = call(client, &request, CLIENT_TIMEOUT_MS, &reply, sizeof(reply), &rest,
			  &rest_length);

	if (status)
		return status;
	*n_records = reply.n_records;
	*next = reply.next;
	return take_records(client, reply.n_records, WIRE_MAX_RECORDS, size, rest, rest_length,
			    record);
}

_Static_assert(sizeof(struct wire_backend_counters_request) ==
			       sizeof(struct wire_backend_openings_request) &&
		       sizeof(struct wire_backend_counters_reply) ==
			       sizeof(struct wire_backend_openings_reply),
	       "call_service_page serves both");

int client_backend_counters(struct client *client, const struct wire_address *service,
			    uint32_t first, struct wire_backend_counters_record *record,
			    uint32_t *n_records, uint32_t *next)
{
	return call_service_page(client, WIRE_BACKEND_COUNTERS, service, first, record,
				 sizeof(*record), n_records, next);
}

int client_backend_openings(struct client *client, const struct wire_address *service,
			    uint32_t first, struct wire_backend_openings_record *record,
			    uint32_t *n_records, uint32_t *next)
{
	return call_service_page(client, WIRE_BACKEND_OPENINGS, service, first, record,
				 sizeof(*record), n_records, next);
}

int client_flows(struct client *client, const struct wire_flow_filter *filter, uint32_t limit,
		 uint64_t cursor, struct wire_flow_record *record, uint32_t *n_records,
		 uint64_t *next)
{
	struct wire_flows_request body = {.filter = *filter, .limit = limit, .cursor = cursor};
	struct wire_flows_reply reply;
	struct request request = {
		.type = WIRE_FLOWS,
		.body = &body,
		.body_length = sizeof(body),
	};
	const uint8_t *rest;
	size_t rest_length;
	int status = call(client, &request, CLIENT_TIMEOUT_MS, &reply, sizeof(reply), &rest,
			  &rest_length);

	if (status)
		return status;
	*n_records = reply.n_records;
	*next = reply.next;
	return take_records(client, reply.n_records, limit, sizeof(*record), rest, rest_length,
			    record);
}

int client_flow_count(struct client *client, const struct wire_flow_filter *filter,
		      struct wire_flow_count_reply *reply)
{
	struct wire_flow_count_request body = {.filter = *filter};

	return call_fixed(client, WIRE_FLOW_COUNT, &body, sizeof(body), reply, sizeof(*reply));
}

int client_explain(struct client *client, const struct wire_explain_request *explain,
		   struct wire_explain_reply *reply, struct wire_explain_step *step,
		   uint32_t max_steps, uint32_t *n_steps)
{
	struct request request = {
		.type = WIRE_EXPLAIN,
		.body = explain,
		.body_length = sizeof(*explain),
	};
	const uint8_t *rest;
	size_t rest_length;
	int status = call(client, &request, CLIENT_TIMEOUT_MS, reply, sizeof(*reply), &rest,
			  &rest_length);

	if (status)
		return status;
	if ((size_t)reply->n_steps * sizeof(*step) != rest_length)
		return disconnect(client, "an answer with a wrong number of records");
	*n_steps = reply->n_steps < max_steps ? reply->n_steps : max_steps;
	memcpy(step, rest, *n_steps * sizeof(*step));
	for (uint32_t i = 0; i < *n_steps; i++) {
		step[i].step[sizeof(step[i].step) - 1] = '\0';
		step[i].text[sizeof(step[i].text) - 1] = '\0';
	}
	return 0;
}

int client_capture_begin(struct client *client, const struct wire_capture_begin_request *request,
			 uint64_t *id)
{
	struct wire_capture_begin_reply reply;
	int status = call_fixed(client, WIRE_CAPTURE_BEGIN, request, sizeof(*request), &reply,
				sizeof(reply));

	if (!status)
		*id = reply.id;
	return status;
}

int client_capture_read(struct client *client, uint64_t id, struct wire_capture_read_reply *reply,
			const uint8_t **bytes)
{
	struct wire_capture_read_request body = {.id = id};
	struct request request = {
		.type = WIRE_CAPTURE_READ, .body = &body, .body_length = sizeof(body)};
	size_t n_bytes;
	int status =
		call(client, &request, CLIENT_TIMEOUT_MS, reply, sizeof(*reply), bytes, &n_bytes);

	if (!status && n_bytes != reply->n_bytes)
		status = disconnect(client, "an answer with a wrong number of bytes");
	return status;
}

int client_capture_stop(struct client *client, uint64_t id)
{
	struct wire_capture_stop_request body = {.id = id};
	struct wire_capture_stop_reply reply;

	return call_fixed(client, WIRE_CAPTURE_STOP, &body, sizeof(body), &reply, sizeof(reply));
}

int client_ports(struct client *client, struct wire_port_record *record, uint32_t *n_records)
{
	struct wire_ports_request body = {0};
	struct wire_ports_reply reply;
	struct request request = {.type = WIRE_PORTS, .body = &body, .body_length = sizeof(body)};
	const uint8_t *rest;
	size_t rest_length;
	int status = call(client, &request, CLIENT_TIMEOUT_MS, &reply, sizeof(reply), &rest,
			  &rest_length);

	if (!status)
		status = take_records(client, reply.n_records, SL_MAX_PORTS, sizeof(*record), rest,
				      rest_length, record);
	if (status)
		return status;
	*n_records = reply.n_records;
	for (uint32_t i = 0; i < *n_records; i++) {
		record[i].name[sizeof(record[i].name) - 1] = '\0';
		record[i].driver[sizeof(record[i].driver) - 1] = '\0';
		record[i].kernel_interface[sizeof(record[i].kernel_interface) - 1] = '\0';
	}
	return 0;
}

int client_workers(struct client *client, bool begins_anew, struct wire_worker_record *record,
		   uint32_t *n_records)
{
	struct wire_workers_request body = {.begins_anew = begins_anew};
	struct wire_workers_reply reply;
	struct request request = {.type = WIRE_WORKERS, .body = &body, .body_length = sizeof(body)};
	const uint8_t *rest;
	size_t rest_length;
	int status = call(client, &request, CLIENT_TIMEOUT_MS, &reply, sizeof(reply), &rest,
			  &rest_length);

	if (status)
		return status;
	*n_records = reply.n_records;
	return take_records(client, reply.n_records, SL_MAX_WORKERS, sizeof(*record), rest,
			    rest_length, record);
}

int client_affinities(struct client *client, uint32_t first, struct wire_affinity_record *record,
		      uint32_t *n_records, uint32_t *next)
{
	return call_page(client, WIRE_AFFINITIES, first, record, sizeof(*record), n_records, next);
}

int client_affinity_clear(struct client *client, const struct wire_address *service,
			  uint32_t *n_entries)
{
	struct wire_affinity_clear_request body = {.service = *service};
	struct wire_affinity_clear_reply reply;
	int status =
		call_fixed(client, WIRE_AFFINITY_CLEAR, &body, sizeof(body), &reply, sizeof(reply));

	*n_entries = status ? 0 : reply.n_entries;
	return status;
}
