/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Both differences are merges of two sorted lists. Services shared by both states are skipped. */
#include "control/daemon/diff.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/lists_json.h"
#include "control/daemon/health_check_json.h"
#include "control/daemon/service_json.h"
#include "control/daemon/text.h"
#include "wire/wire_abi.h"

/* The list under construction. */
struct changes {
	json_t *list;
	size_t n;
};

/* One change under construction: its fields and their words. */
struct change {
	json_t *fields;
	char text[2048];
	size_t used;
};

static void change_text(struct change *change, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void change_text(struct change *change, const char *format, ...)
{
	size_t left = sizeof(change->text) - change->used;
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(change->text + change->used, left, format, arguments);
	va_end(arguments);
	if (n > 0)
		change->used += (size_t)n < left ? (size_t)n : left - 1;
}

static void field_text(struct change *change, const char *name, const char *old, const char *new)
{
	if (old && strcmp(old, new) == 0)
		return;
	if (old)
		change_text(change, " %s %s -> %s", name, old, new);
	else
		change_text(change, " %s %s", name, new);
	json_object_set_new(change->fields, name,
			    old ? json_pack("{s:s, s:s}", "old", old, "new", new)
				: json_pack("{s:s}", "new", new));
}

static void field_number(struct change *change, const char *name, const uint32_t *old, uint32_t new)
{
	if (old && *old == new)
		return;
	if (old)
		change_text(change, " %s %u -> %u", name, *old, new);
	else
		change_text(change, " %s %u", name, new);
	json_object_set_new(
		change->fields, name,
		old ? json_pack("{s:I, s:I}", "old", (json_int_t)*old, "new", (json_int_t) new)
		    : json_pack("{s:I}", "new", (json_int_t) new));
}

static void sources_text(const struct wire_service *service, char *text, size_t size)
{
	size_t used = (size_t)snprintf(text, size, "%s", service->n_sources ? "" : "none");

	for (uint32_t i = 0; i < service->n_sources && used < size; i++) {
		char addr[WIRE_ADDRESS_TEXT];

		text_addr(&service->source[i], service->address.family, addr);
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "," : "", addr);
	}
}

/* What goes with a source pool alone; of a service that is and was nat nothing is said. */
static void source_fields(struct change *change, const struct wire_service *was,
			  const struct wire_service *is)
{
	char old[1024], new[1024];

	if (is->n_sources == 0 && (!was || was->n_sources == 0))
		return;
	sources_text(is, new, sizeof(new));
	if (was)
		sources_text(was, old, sizeof(old));
	field_text(change, "source", was ? old : NULL, new);
	if (json_object_get(change->fields, "source"))
		json_object_set_new(change->fields, "source",
				    was ? json_pack("{s:o, s:o}", "old", sources_to_json(was),
						    "new", sources_to_json(is))
					: json_pack("{s:o}", "new", sources_to_json(is)));
	text_source_ports(is, new);
	if (was)
		text_source_ports(was, old);
	field_text(change, "source_ports", was ? old[0] ? old : "none" : NULL,
		   new[0] ? new : "none");
}

static const char *prefixes_text(uint32_t n, char text[static 32])
{
	if (n == 0)
		return "none";
	(void)snprintf(text, 32, "%u prefix%s", n, n == 1 ? "" : "es");
	return text;
}

/* Their numbers in words, for there may be thousands; which they are, in the fields. */
static void list_field(struct change *change, const struct desired_service *old,
		       const struct desired_service *new, uint8_t which)
{
	const char *name = wire_list_name(which);
	json_t *added = json_array(), *removed = json_array();
	char was[32], is[32];

	list_compare(old, new, which, added, removed);
	if (json_array_size(added) + json_array_size(removed) == 0) {
		json_decref(added);
		json_decref(removed);
		return;
	}
	change_text(change, " %s %s%s%s", name,
		    old ? prefixes_text(list_count(old, which), was) : "", old ? " -> " : "",
		    prefixes_text(list_count(new, which), is));
	if (json_array_size(added) && json_array_size(removed))
		change_text(change, " (+%zu -%zu)", json_array_size(added),
			    json_array_size(removed));
	json_object_set_new(change->fields, name,
			    json_pack("{s:o, s:o}", "added", added, "removed", removed));
}

static const char *json_text(const json_t *value, char text[static 32])
{
	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_integer(value))
		(void)snprintf(text, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else
		(void)snprintf(text, 32, "%s",
			       !value                ? "none"
			       : json_is_true(value) ? "true"
						     : "false");
	return text;
}

/* Of a check that there was not, what it is alone; of one that there was, each member that differs. */
static void check_fields(struct change *change, const struct desired_service *old,
			 const struct desired_service *new)
{
	size_t n;
	const struct health_check_member *member = health_check_members(&n);
	static const struct health_check none;
	const struct health_check *was = old ? &old->check : &none;

	for (size_t i = 0; i < n; i++) {
		json_t *before = health_check_member_to_json(was, member[i].name);
		json_t *after = health_check_member_to_json(&new->check, member[i].name);
		char name[64], before_text[32], after_text[32];

		(void)snprintf(name, sizeof(name), "check.%s", member[i].name);
		if (!json_equal(before, after) &&
		    (member[i].offset == offsetof(struct health_check, type) ||
		     (was->type != HEALTH_CHECK_NONE && new->check.type != HEALTH_CHECK_NONE)))
			field_text(change, name, old ? json_text(before, before_text) : NULL,
				   json_text(after, after_text));
		json_decref(before);
		json_decref(after);
	}
}

/* Takes change->fields over. */
static void add_change(struct changes *changes, const char *action, const char *service,
		       const char *backend, struct change *change)
{
	json_t *entry;

	if (changes->n++ >= DIFF_MAX_CHANGES) {
		json_decref(change->fields);
		return;
	}
	entry = json_pack("{s:s, s:s, s:s, s:s}", "action", action, "object",
			  backend ? "backend" : "service", "service", service, "text",
			  change->text);
	if (backend)
		json_object_set_new(entry, "backend", json_string(backend));
	if (json_object_size(change->fields))
		json_object_set(entry, "fields", change->fields);
	json_decref(change->fields);
	json_array_append_new(changes->list, entry);
}

/* A group or share of a canary that there is not, and was not, says nothing. */
static void canary_fields(struct change *change, const struct desired_service *old,
			  const struct desired_service *new)
{
	const struct share_canary *was = old ? &old->canary : NULL, *is = &new->canary;
	char before[SHARE_PERCENT_TEXT], after[SHARE_PERCENT_TEXT];
	bool is_there = is->group[0] != '\0', was_there = was && was->group[0] != '\0';

	if (is_there || was_there)
		field_text(change, "canary.group",
			   !was        ? NULL
			   : was_there ? was->group
				       : "none",
			   is_there ? is->group : "none");
	if (is_there)
		field_text(change, "canary.share_percent",
			   was_there ? share_percent_text(was->share, before) : NULL,
			   share_percent_text(is->share, after));
	list_field(change, old, new, WIRE_CANARY_SOURCE);
}

/* Affinity that there is not, and was not, says nothing. */
static void affinity_fields(struct change *change, const struct wire_service *was,
			    const struct wire_service *is)
{
	uint32_t before = was ? was->affinity_prefix : 0, after = is->affinity_prefix;

	if (is->affinity_timeout_sec == 0 && (!was || was->affinity_timeout_sec == 0))
		return;
	field_number(change, "affinity.timeout", was ? &was->affinity_timeout_sec : NULL,
		     is->affinity_timeout_sec);
	if (after != 0)
		field_number(change, "affinity.prefix", before != 0 ? &before : NULL, after);
}

static void service_fields(struct change *change, const struct desired_service *old,
			   const struct desired_service *new)
{
	const struct wire_service *was = old ? &old->wire : NULL;
	const struct wire_service *is = &new->wire;
	char old_address[WIRE_ADDRESS_TEXT], new_address[WIRE_ADDRESS_TEXT];

	(void)wire_format_address(&is->address, new_address);
	if (old)
		(void)wire_format_address(&was->address, old_address);
	field_text(change, "address", old ? old_address : NULL, new_address);
	field_text(change, "owner", old ? desired_owner_name(old->owner) : NULL,
		   desired_owner_name(new->owner));
	field_text(change, "mode", old ? wire_mode_name(was->mode) : NULL,
		   wire_mode_name(is->mode));
	field_text(change, "scheduler", old ? wire_scheduler_name(was->scheduler) : NULL,
		   wire_scheduler_name(is->scheduler));
	source_fields(change, was, is);
	list_field(change, old, new, WIRE_DENY_SOURCE);
	list_field(change, old, new, WIRE_DENY_DESTINATION);
	if (old || !is->stateless_replies)
		field_text(change, "stateless_replies",
			   old ? was->stateless_replies ? "true" : "false" : NULL,
			   is->stateless_replies ? "true" : "false");
	if (old || is->proxy_protocol != WIRE_PROXY_NONE)
		field_text(change, "proxy_protocol",
			   old ? wire_proxy_protocol_name(was->proxy_protocol) : NULL,
			   wire_proxy_protocol_name(is->proxy_protocol));
	if (old || is->flow_log)
		field_text(change, "flow_log", old ? was->flow_log ? "true" : "false" : NULL,
			   is->flow_log ? "true" : "false");
	field_number(change, "slots", old ? &was->n_slots : NULL, is->n_slots);
	field_number(change, "established", old ? &was->timeout_established_sec : NULL,
		     is->timeout_established_sec);
	field_number(change, "transitory", old ? &was->timeout_transitory_sec : NULL,
		     is->timeout_transitory_sec);
	field_number(change, "embryonic", old ? &was->timeout_embryonic_sec : NULL,
		     is->timeout_embryonic_sec);
	field_number(change, "udp", old ? &was->timeout_udp_sec : NULL, is->timeout_udp_sec);
	affinity_fields(change, was, is);
	check_fields(change, old, new);
	canary_fields(change, old, new);
}

static const char *group_text(const struct desired_backend *backend)
{
	return backend->part.group[0] ? backend->part.group : "none";
}

static void backend_change(struct changes *changes, const char *service,
			   const struct desired_backend *old, const struct desired_backend *new)
{
	struct change change = {.fields = json_object()};
	const char *action = !old ? "add" : !new ? "delete" : "set";
	char address[WIRE_ADDRESS_TEXT];

	text_backend_address(new ? &new->wire : &old->wire, address);
	change_text(&change, "%s backend %s %s", !old ? "+" : !new ? "-" : "~", service, address);
	if (new) {
		field_number(&change, "weight", old ? &old->wire.weight : NULL, new->wire.weight);
		if (old || new->wire.max_flows != 0)
			field_number(&change, "max_flows", old ? &old->wire.max_flows : NULL,
				     new->wire.max_flows);
		field_text(&change, "state", old ? wire_state_name(old->wire.state) : NULL,
			   wire_state_name(new->wire.state));
		if (old || new->part.role != SHARE_ACTIVE)
			field_text(&change, "role", old ? share_role_name(old->part.role) : NULL,
				   share_role_name(new->part.role));
		if (old || new->part.group[0])
			field_text(&change, "group", old ? group_text(old) : NULL, group_text(new));
		if (old && json_object_size(change.fields) == 0) {
			json_decref(change.fields);
			return;
		}
	}
	add_change(changes, action, service, address, &change);
}

static void service_change(struct changes *changes, const struct desired_service *old,
			   const struct desired_service *new)
{
	/* cppcheck-suppress nullPointerRedundantCheck ; old or new is there */
	const char *name = new ? new->wire.name : old->wire.name;
	struct change change = {.fields = json_object()};
	const struct desired_backend *was, *is;
	uint32_t i = 0, k = 0;

	change_text(&change, "%s service %s", !old ? "+" : !new ? "-" : "~", name);
	if (new)
		service_fields(&change, old, new);
	if (!old || !new || json_object_size(change.fields))
		add_change(changes, !old ? "add" : !new ? "delete" : "set", name, NULL, &change);
	else
		json_decref(change.fields);
	if (!new)
		return; /* its backends go with it */
	while (desired_next_backends(old, new, &i, &k, &was, &is))
		backend_change(changes, name, was, is);
}

json_t *diff_changes(const struct desired *old, const struct desired *new, size_t *n_changes)
{
	struct changes changes = {.list = json_array()};
	const struct desired_service *was, *is;
	size_t i = 0, k = 0;

	while (desired_next_services(old, new, &i, &k, &was, &is))
		if (was != is)
			service_change(&changes, was, is);
	*n_changes = changes.n;
	return changes.list;
}

static int compare_addresses(const void *a, const void *b)
{
	const struct desired_service *const *left = a;
	const struct desired_service *const *right = b;

	return memcmp(&(*left)->wire.address, &(*right)->wire.address,
		      sizeof((*left)->wire.address));
}

/** The services that two states do not share: of each one its own, in the order of their addresses. */
struct unshared {
	const struct desired_service **was;
	size_t n_was;
	const struct desired_service **is;
	size_t n_is;
};

static void unshared_fini(struct unshared *unshared)
{
	free(unshared->was);
	free(unshared->is);
}

static void sort_by_address(const struct desired_service **service, size_t n)
{
	if (n > 1)
		qsort(service, n, sizeof(const struct desired_service *), compare_addresses);
}

static int unshared_init(struct unshared *unshared, const struct desired *old,
			 const struct desired *new)
{
	const struct desired_service *was, *is;
	size_t i = 0, k = 0;

	memset(unshared, 0, sizeof(*unshared));
	unshared->was = malloc((old->n_services + 1) * sizeof(const struct desired_service *));
	unshared->is = malloc((new->n_services + 1) * sizeof(const struct desired_service *));
	if (!unshared->was || !unshared->is) {
		unshared_fini(unshared);
		return -ENOMEM;
	}
	while (desired_next_services(old, new, &i, &k, &was, &is)) {
		if (was == is)
			continue;
		if (was)
			unshared->was[unshared->n_was++] = was;
		if (is)
			unshared->is[unshared->n_is++] = is;
	}
	sort_by_address(unshared->was, unshared->n_was);
	sort_by_address(unshared->is, unshared->n_is);
	return 0;
}

static int delta_backends(const struct desired_service *old, const struct desired_service *new,
			  struct diff_delta *delta)
{
	const struct desired_backend *was, *is;
	uint32_t i = 0, k = 0;

	while (desired_next_backends(old, new, &i, &k, &was, &is)) {
		if (!is)
			delta->deleted_backend[delta->n_deleted_backends++] =
				(struct wire_backend_delete_request){
					.service = was->wire.service,
					.addr = was->wire.addr,
					.port = was->wire.port,
				};
		else if (!was || memcmp(&was->wire, &is->wire, sizeof(is->wire)) != 0)
			delta->backend[delta->n_backends++] = is->wire;
	}
	return 0;
}

static void delta_service(const struct desired_service *old, const struct desired_service *new,
			  struct diff_delta *delta)
{
	if (!old || !desired_has_same_record(old, new)) {
		delta->service[delta->n_services++] = new->wire;
		if (new->n_listed)
			memcpy(&delta->listed[delta->n_listed], new->listed,
			       new->n_listed * sizeof(*new->listed));
		delta->n_listed += new->n_listed;
	}
	delta_backends(old, new, delta);
}

/*
 * Room for the worst case of each list, so that nothing can fail later; of what is not shared alone, for
 * among a hundred thousand backends one change would spend its time on ten megabytes of zeros.
 */
static int delta_reserve(const struct unshared *unshared, struct diff_delta *delta)
{
	size_t n_listed = 0, n_old = 0, n_new = 0;

	for (size_t i = 0; i < unshared->n_was; i++)
		n_old += unshared->was[i]->n_backends;
	for (size_t i = 0; i < unshared->n_is; i++) {
		n_new += unshared->is[i]->n_backends;
		n_listed += unshared->is[i]->n_listed;
	}
	delta->deleted_service = calloc(unshared->n_was + 1, sizeof(*delta->deleted_service));
	delta->deleted_backend = calloc(n_old + 1, sizeof(*delta->deleted_backend));
	delta->service = calloc(unshared->n_is + 1, sizeof(*delta->service));
	delta->backend = calloc(n_new + 1, sizeof(*delta->backend));
	delta->listed = calloc(n_listed + 1, sizeof(*delta->listed));
	if (delta->deleted_service && delta->deleted_backend && delta->service && delta->backend &&
	    delta->listed)
		return 0;
	diff_delta_fini(delta);
	return -ENOMEM;
}

/* A service is the one at the same address, whatever its name was. */
static void delta_fill(const struct unshared *unshared, struct diff_delta *delta)
{
	const struct desired_service *const *was = unshared->was, *const *is = unshared->is;
	size_t i = 0, k = 0;

	while (i < unshared->n_was || k < unshared->n_is) {
		int order = i == unshared->n_was  ? 1
			    : k == unshared->n_is ? -1
						  : compare_addresses(&was[i], &is[k]);

		if (order < 0) /* its backends go with it */
			delta->deleted_service[delta->n_deleted_services++] = was[i]->wire.address;
		else
			delta_service(order == 0 ? was[i] : NULL, is[k], delta);
		i += order <= 0;
		k += order >= 0;
	}
}

int diff_delta(const struct desired *old, const struct desired *new, struct diff_delta *delta)
{
	static const struct desired nothing;
	struct unshared unshared;
	int status = unshared_init(&unshared, old ? old : &nothing, new);

	memset(delta, 0, sizeof(*delta));
	if (status)
		return status;
	status = delta_reserve(&unshared, delta);
	if (!status)
		delta_fill(&unshared, delta);
	unshared_fini(&unshared);
	return status;
}

void diff_delta_fini(struct diff_delta *delta)
{
	free(delta->deleted_service);
	free(delta->deleted_backend);
	free(delta->service);
	free(delta->backend);
	free(delta->listed);
	memset(delta, 0, sizeof(*delta));
}

bool diff_delta_is_empty(const struct diff_delta *delta)
{
	return delta->n_deleted_services + delta->n_deleted_backends + delta->n_services +
		       delta->n_backends + delta->n_listed ==
	       0;
}
