/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The mapping `check` of a service: one key for each member of struct health_check. */
#include "config/load_health_check.h"

#include <string.h>

#include "config/config.h"
#include "config/health_check.h"

static void read_choice(struct reader *reader, const yaml_node_t *node, const char *path,
			const struct read_key *key, void *target)
{
	const struct health_check_member *member = health_check_find(key->name);
	const char *text = read_scalar(reader, node, path);

	if (text != NULL && !health_check_word_number(member, text, target))
		READ_FAIL(reader, node, path, "\"%.40s\" is not one of: %s", text, member->choices);
}

static const char *const boolean_words[] = {"false", "true", NULL};

static const struct read_key check_keys[] = {
#define X(member, types, words, help)                                                              \
	{#member, read_choice, offsetof(struct health_check, member), 0, 0, NULL},
	HEALTH_CHECK_WORD_LIST(X)
#undef X
#define X(member, types, help)                                                                     \
	{#member, read_word, offsetof(struct health_check, member), 0, 0, boolean_words},
		HEALTH_CHECK_BOOLEAN_LIST(X)
#undef X
#define X(member, types, least, most, normal, help)                                                \
	{#member, read_integer, offsetof(struct health_check, member), least, most, NULL},
			HEALTH_CHECK_NUMBER_LIST(X)
#undef X
#define X(member, types, size, help)                                                               \
	{#member, read_text, offsetof(struct health_check, member), 0, size, NULL},
				HEALTH_CHECK_TEXT_LIST(X)
#undef X
					{0},
};

void read_health_check(struct reader *reader, const yaml_node_t *node, const char *path,
		       const struct read_key *key SL_UNUSED, void *target)
{
	struct health_check *check = target;
	size_t n, errors_before = reader->problems->n_errors;
	const struct health_check_member *member = health_check_members(&n);

	health_check_init(check);
	if (!read_mapping(reader, node, path, check_keys, check) ||
	    reader->problems->n_errors != errors_before)
		return;
	if (read_find(reader, node, "type") == NULL)
		READ_FAIL(reader, node, path, "has no type (one of: %s)", HEALTH_CHECK_TYPES);
	for (size_t i = 0; i < n; i++) {
		const yaml_node_t *name = read_find(reader, node, member[i].name);

		if (name != NULL && !health_check_uses(check->type, &member[i]))
			READ_FAIL(reader, name, path, "%s does not go with type %s", member[i].name,
				  health_check_type_name(check->type));
	}
	health_check_settle(check);
}
