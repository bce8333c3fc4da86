/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Services as YAML, by libyaml's emitter; names and addresses always quoted, backends a line each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "config/config.h"
#include "wire/wire_abi.h"

struct exporter {
	yaml_emitter_t emitter;
	char *text;
	size_t size;
	size_t capacity;
	bool has_failed;
};

static int append(void *data, unsigned char *bytes, size_t size)
{
	struct exporter *exporter = data;

	if (exporter->size + size + 1 > exporter->capacity) {
		size_t capacity = 2 * (exporter->size + size + 1);
		char *text = realloc(exporter->text, capacity);

		if (text == NULL)
			return 0;
		exporter->text = text;
		exporter->capacity = capacity;
	}
	memcpy(exporter->text + exporter->size, bytes, size);
	exporter->size += size;
	exporter->text[exporter->size] = '\0';
	return 1;
}

/* @is_made: whether libyaml could make @event; the emitter frees it in any case. */
static void emit(struct exporter *exporter, yaml_event_t *event, int is_made)
{
	if (!is_made)
		exporter->has_failed = true;
	else if (exporter->has_failed)
		yaml_event_delete(event);
	else if (!yaml_emitter_emit(&exporter->emitter, event))
		exporter->has_failed = true;
}

static void put_scalar(struct exporter *exporter, const char *text, yaml_scalar_style_t style)
{
	yaml_event_t event;

	emit(exporter, &event,
	     yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
					  (int)strlen(text), 1, 1, style));
}

static void put_word(struct exporter *exporter, const char *key, const char *word)
{
	put_scalar(exporter, key, YAML_PLAIN_SCALAR_STYLE);
	put_scalar(exporter, word, YAML_PLAIN_SCALAR_STYLE);
}

static void put_text(struct exporter *exporter, const char *key, const char *text)
{
	put_scalar(exporter, key, YAML_PLAIN_SCALAR_STYLE);
	put_scalar(exporter, text, YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

static void put_number(struct exporter *exporter, const char *key, uint32_t number)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", number);
	put_word(exporter, key, text);
}

static void open_mapping(struct exporter *exporter, yaml_mapping_style_t style)
{
	yaml_event_t event;

	emit(exporter, &event, yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, style));
}

static void close_mapping(struct exporter *exporter)
{
	yaml_event_t event;

	emit(exporter, &event, yaml_mapping_end_event_initialize(&event));
}

static void open_list(struct exporter *exporter, const char *key, yaml_sequence_style_t style)
{
	yaml_event_t event;

	put_scalar(exporter, key, YAML_PLAIN_SCALAR_STYLE);
	emit(exporter, &event, yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, style));
}

static void close_list(struct exporter *exporter)
{
	yaml_event_t event;

	emit(exporter, &event, yaml_sequence_end_event_initialize(&event));
}

static void put_timeouts(struct exporter *exporter, const struct wire_service *wire)
{
	put_scalar(exporter, "timeouts", YAML_PLAIN_SCALAR_STYLE);
	open_mapping(exporter, YAML_FLOW_MAPPING_STYLE);
	put_number(exporter, "established", wire->timeout_established_sec);
	put_number(exporter, "transitory", wire->timeout_transitory_sec);
	put_number(exporter, "embryonic", wire->timeout_embryonic_sec);
	put_number(exporter, "udp", wire->timeout_udp_sec);
	close_mapping(exporter);
}

static void put_sources(struct exporter *exporter, const struct wire_service *wire)
{
	char text[WIRE_ADDRESS_TEXT];

	if (wire->n_sources == 0)
		return;
	open_list(exporter, "source", YAML_FLOW_SEQUENCE_STYLE);
	for (uint32_t i = 0; i < wire->n_sources; i++)
		put_scalar(exporter, wire_format_addr(&wire->source[i], wire->address.family, text),
			   YAML_DOUBLE_QUOTED_SCALAR_STYLE);
	close_list(exporter);
	snprintf(text, sizeof(text), "%u-%u", wire->source_port_first, wire->source_port_last);
	put_text(exporter, "source_ports", text);
}

/* The prefixes of one list, under @key. */
static void put_prefixes(struct exporter *exporter, const struct config_service *service,
			 uint8_t which, const char *key, yaml_sequence_style_t style)
{
	bool is_open = false;
	char text[WIRE_ADDRESS_TEXT];

	for (size_t i = 0; i < service->n_listed; i++) {
		const struct wire_listed *listed = &service->listed[i].wire;

		if (listed->list != which)
			continue;
		if (!is_open)
			open_list(exporter, key, style);
		is_open = true;
		put_scalar(exporter,
			   wire_format_prefix(&listed->addr, listed->length, listed->family, text),
			   YAML_DOUBLE_QUOTED_SCALAR_STYLE);
	}
	if (is_open)
		close_list(exporter);
}

/* A line each. */
static void put_denies(struct exporter *exporter, const struct config_service *service,
		       uint8_t which)
{
	put_prefixes(exporter, service, which, wire_list_name(which), YAML_BLOCK_SEQUENCE_STYLE);
}

static void put_check(struct exporter *exporter, const struct health_check *check)
{
	size_t n;
	const struct health_check_member *member = health_check_members(&n);

	put_scalar(exporter, "check", YAML_PLAIN_SCALAR_STYLE);
	open_mapping(exporter, YAML_FLOW_MAPPING_STYLE);
	for (size_t i = 0; i < n; i++) {
		const char *at = (const char *)check + member[i].offset;
		char word[16];
		uint32_t number;

		if (!health_check_uses(check->type, &member[i]))
			continue;
		switch ((enum health_check_kind)member[i].kind) {
		case HEALTH_CHECK_WORD:
			health_check_word(&member[i], (uint8_t)*at, word, sizeof(word));
			put_word(exporter, member[i].name, word);
			break;
		case HEALTH_CHECK_FLAG:
			put_word(exporter, member[i].name, *at ? "true" : "false");
			break;
		case HEALTH_CHECK_NUMBER:
			memcpy(&number, at, sizeof(number));
			put_number(exporter, member[i].name, number);
			break;
		case HEALTH_CHECK_TEXT:
			if (*at)
				put_text(exporter, member[i].name, at);
			break;
		}
	}
	close_mapping(exporter);
}

static void put_affinity(struct exporter *exporter, const struct wire_service *wire)
{
	put_scalar(exporter, "affinity", YAML_PLAIN_SCALAR_STYLE);
	open_mapping(exporter, YAML_FLOW_MAPPING_STYLE);
	put_number(exporter, "timeout", wire->affinity_timeout_sec);
	put_number(exporter, "prefix", wire->affinity_prefix);
	close_mapping(exporter);
}

static void put_canary(struct exporter *exporter, const struct config_service *service)
{
	const struct share_canary *canary = &service->canary;
	char text[SHARE_PERCENT_TEXT];

	put_scalar(exporter, "canary", YAML_PLAIN_SCALAR_STYLE);
	open_mapping(exporter, YAML_FLOW_MAPPING_STYLE);
	put_text(exporter, "group", canary->group);
	put_word(exporter, "share_percent", share_percent_text(canary->share, text));
	put_prefixes(exporter, service, WIRE_CANARY_SOURCE, "sources", YAML_FLOW_SEQUENCE_STYLE);
	close_mapping(exporter);
}

static void put_backend(struct exporter *exporter, const struct config_backend *backend,
			uint8_t family)
{
	const struct wire_backend *wire = &backend->wire;
	char text[WIRE_ADDRESS_TEXT];

	open_mapping(exporter, YAML_FLOW_MAPPING_STYLE);
	put_text(exporter, "address", wire_format_endpoint(&wire->addr, wire->port, family, text));
	put_number(exporter, "weight", wire->weight);
	if (wire->max_flows != 0)
		put_number(exporter, "max_flows", wire->max_flows);
	put_word(exporter, "state", wire_state_name(wire->state));
	if (backend->part.role != SHARE_ACTIVE)
		put_word(exporter, "role", share_role_name(backend->part.role));
	if (backend->part.group[0])
		put_text(exporter, "group", backend->part.group);
	close_mapping(exporter);
}

static void put_service(struct exporter *exporter, const struct config_service *service)
{
	const struct wire_service *wire = &service->wire;
	char text[WIRE_ADDRESS_TEXT];

	open_mapping(exporter, YAML_BLOCK_MAPPING_STYLE);
	put_text(exporter, "name", wire->name);
	put_text(exporter, "address", wire_format_address(&wire->address, text));
	put_word(exporter, "mode", wire_mode_name(wire->mode));
	put_word(exporter, "scheduler", wire_scheduler_name(wire->scheduler));
	put_number(exporter, "slots", wire->n_slots);
	put_sources(exporter, wire);
	put_denies(exporter, service, WIRE_DENY_SOURCE);
	put_denies(exporter, service, WIRE_DENY_DESTINATION);
	put_word(exporter, "stateless_replies", wire->stateless_replies ? "true" : "false");
	put_word(exporter, "proxy_protocol", wire_proxy_protocol_name(wire->proxy_protocol));
	put_word(exporter, "flow_log", wire->flow_log ? "true" : "false");
	put_timeouts(exporter, wire);
	if (wire->affinity_timeout_sec != 0)
		put_affinity(exporter, wire);
	if (service->check.type != HEALTH_CHECK_NONE)
		put_check(exporter, &service->check);
	if (service->canary.group[0])
		put_canary(exporter, service);
	if (service->n_backends > 0) {
		open_list(exporter, "backends", YAML_BLOCK_SEQUENCE_STYLE);
		for (size_t i = 0; i < service->n_backends; i++)
			put_backend(exporter, &service->backend[i], wire->address.family);
		close_list(exporter);
	}
	close_mapping(exporter);
}

static void put_document(struct exporter *exporter, const struct config_service *service, size_t n)
{
	yaml_event_t event;

	emit(exporter, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	emit(exporter, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
	open_mapping(exporter, YAML_BLOCK_MAPPING_STYLE);
	open_list(exporter, "services", YAML_BLOCK_SEQUENCE_STYLE);
	for (size_t i = 0; i < n && !exporter->has_failed; i++)
		put_service(exporter, &service[i]);
	close_list(exporter);
	close_mapping(exporter);
	emit(exporter, &event, yaml_document_end_event_initialize(&event, 1));
	emit(exporter, &event, yaml_stream_end_event_initialize(&event));
}

char *config_export(const struct config_service *service, size_t n)
{
	struct exporter exporter = {0};

	if (!yaml_emitter_initialize(&exporter.emitter))
		return NULL;
	yaml_emitter_set_output(&exporter.emitter, append, &exporter);
	yaml_emitter_set_width(&exporter.emitter, -1);
	put_document(&exporter, service, n);
	yaml_emitter_delete(&exporter.emitter);
	if (exporter.has_failed) {
		free(exporter.text);
		return NULL;
	}
	return exporter.text;
}
