/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See health_check_json.h. All of it walks the list of members. */
#include "control/daemon/health_check_json.h"

#include <string.h>

#include "config/health_check.h"
#include "control/rpc.h"

enum {
	MAX_WORD = 16,
};

static json_t *to_json(const struct health_check *check, const struct health_check_member *member)
{
	const char *at = (const char *)check + member->offset;
	char word[MAX_WORD];
	uint32_t number;

	switch ((enum health_check_kind)member->kind) {
	case HEALTH_CHECK_WORD:
		health_check_word(member, (uint8_t)*at, word, sizeof(word));
		return json_string(word);
	case HEALTH_CHECK_FLAG:
		return json_boolean(*at);
	case HEALTH_CHECK_NUMBER:
		memcpy(&number, at, sizeof(number));
		return json_integer(number);
	case HEALTH_CHECK_TEXT:
		return json_string(at);
	}
	return NULL;
}

json_t *health_check_to_json(const struct health_check *check)
{
	size_t n;
	const struct health_check_member *member = health_check_members(&n);
	json_t *object;

	if (check->type == HEALTH_CHECK_NONE)
		return NULL;
	object = json_object();
	for (size_t i = 0; i < n; i++)
		if (health_check_uses(check->type, &member[i]))
			json_object_set_new(object, member[i].name, to_json(check, &member[i]));
	return object;
}

json_t *health_check_member_to_json(const struct health_check *check, const char *name)
{
	const struct health_check_member *member = health_check_find(name);

	return member && health_check_uses(check->type, member) ? to_json(check, member) : NULL;
}

static int refuse(const char *service, const char *name, const char *reason, const char *detail,
		  struct rpc_error *error)
{
	char field[64] = "check.";

	strncat(field, name, sizeof(field) - sizeof("check."));
	return rpc_error_set(error, RPC_PARAMS, field, "service %.64s: %s: %s%s", service, field,
			     reason, detail);
}

static bool take_text(const json_t *json, const struct health_check_member *member, char *at)
{
	const char *text = json_string_value(json);

	if (!text || strlen(text) > member->most || strlen(text) != json_string_length(json))
		return false;
	memset(at, 0, member->most + 1);
	memcpy(at, text, strlen(text));
	return true;
}

static bool take_number(const json_t *json, const struct health_check_member *member, char *at)
{
	json_int_t value = json_integer_value(json);
	uint32_t number = (uint32_t)value;

	if (!json_is_integer(json) || value < member->least || value > member->most)
		return false;
	memcpy(at, &number, sizeof(number));
	return true;
}

static bool take_member(const json_t *json, const struct health_check_member *member,
			struct health_check *check)
{
	char *at = (char *)check + member->offset;

	switch ((enum health_check_kind)member->kind) {
	case HEALTH_CHECK_WORD:
		return json_is_string(json) &&
		       health_check_word_number(member, json_string_value(json), (uint8_t *)at);
	case HEALTH_CHECK_FLAG:
		*at = json_is_true(json);
		return json_is_boolean(json);
	case HEALTH_CHECK_NUMBER:
		return take_number(json, member, at);
	case HEALTH_CHECK_TEXT:
		return take_text(json, member, at);
	}
	return false;
}

int health_check_from_json(const json_t *json, const char *service, struct health_check *check,
			   struct rpc_error *error)
{
	uint8_t type_before = check->type;
	const char *name;
	json_t *value;

	if (!json_is_object(json))
		return refuse(service, "type", "is missing", "", error);
	value = json_object_get(json, "type");
	if (check->type == HEALTH_CHECK_NONE)
		health_check_init(check);
	if (value && !take_member(value, health_check_find("type"), check))
		return refuse(service, "type", "must be one of ", HEALTH_CHECK_TYPES, error);
	if (check->type == HEALTH_CHECK_NONE && type_before == HEALTH_CHECK_NONE && !value)
		return refuse(service, "type", "is missing, must be one of ", HEALTH_CHECK_TYPES,
			      error);
	health_check_adopt(check, type_before);
	json_object_foreach((json_t *)(uintptr_t)json, name, value)
	{
		const struct health_check_member *member = health_check_find(name);

		if (!member)
			return refuse(service, name, "there is no such member", "", error);
		if (!health_check_uses(check->type, member))
			return refuse(service, name, "does not go with type ",
				      health_check_type_name(check->type), error);
		if (!take_member(value, member, check))
			return refuse(service, name, "is of the wrong type or out of range", "",
				      error);
	}
	health_check_settle(check);
	return RPC_OK;
}
