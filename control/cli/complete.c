/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The script is data from the table (what may follow what), and one function that walks it. Each
 * place of a command is a list of words, or one of: @service, @backend, @generation, @file.
 */
#include "control/cli/complete.h"

#include <string.h>

#include "control/cli/commands.h"

static const char head[] =
	"# bash completion for sluice(1), printed by \"sluice completion bash\"; do not edit.\n"
	"\n";

/* clang-format off */
static const char walker[] =
	"\n"
	"# The words of the line before the cursor; bash would split addresses at their colons.\n"
	"_sluice_words() {\n"
	"    local line=${COMP_LINE:0:COMP_POINT}\n"
	"    read -ra words <<< \"$line\"\n"
	"    case $line in *[[:space:]]) words+=('') ;; esac\n"
	"}\n"
	"\n"
	"# The words of a list of the table, a line each.\n"
	"_sluice_list() {\n"
	"    local word\n"
	"    for word in $1; do\n"
	"        echo \"$word\"\n"
	"    done\n"
	"}\n"
	"\n"
	"# The only word of the list $2 that begins with $1.\n"
	"_sluice_full() {\n"
	"    local word found=()\n"
	"    for word in $2; do\n"
	"        [[ $word == \"$1\" ]] && { echo \"$word\"; return; }\n"
	"        [[ $word == \"$1\"* ]] && found+=(\"$word\")\n"
	"    done\n"
	"    [[ ${#found[@]} == 1 ]] && echo \"${found[0]}\"\n"
	"}\n"
	"\n"
	"# The values of the member $1 in an answer of sluiced.\n"
	"_sluice_ask() {\n"
	"    local member=$1\n"
	"    shift\n"
	"    \"${program[@]}\" -j --timeout 2 \"$@\" 2> /dev/null |\n"
	"        grep -o \"\\\"$member\\\": *\\\"[^\\\"\\\\]*\\\"\" | cut -d '\"' -f 4\n"
	"}\n"
	"\n"
	"# What may stand at the place $1; $2 is the service of the line, if there is one.\n"
	"_sluice_place() {\n"
	"    case $1 in\n"
	"    -) ;;\n"
	"    @service) _sluice_ask name service list ;;\n"
	"    @backend) [[ $2 ]] && _sluice_ask address backend list \"$2\" ;;\n"
	"    @generation)\n"
	"        \"${program[@]}\" -j --timeout 2 generation list 2> /dev/null |\n"
	"            grep -o '\"number\": *[0-9]*' | grep -o '[0-9]*$'\n"
	"        ;;\n"
	"    @file) compgen -f -- \"$current\" ;;\n"
	"    *) _sluice_list \"${1//|/ }\" ;;\n"
	"    esac\n"
	"}\n"
	"\n"
	"# Takes options off words, so that the rest is a command; what to ask sluiced with: program.\n"
	"_sluice_options() {\n"
	"    local i last=$((${#words[@]} - 1)) rest=()\n"
	"    program=(\"${words[0]}\")\n"
	"    for ((i = 0; i <= last; i++)); do\n"
	"        if ((i == last)) || [[ ${words[i]} != -?* ]]; then\n"
	"            rest+=(\"${words[i]}\")\n"
	"        elif [[ \" $_sluice_valued \" == *\" ${words[i]} \"* ]]; then\n"
	"            case ${words[i]} in\n"
	"            -s | -c | --socket | --config) program+=(\"${words[i]}\" \"${words[i + 1]}\") ;;\n"
	"            esac\n"
	"            ((i + 1 == last)) && option=${words[i]}\n"
	"            ((i++))\n"
	"        fi\n"
	"    done\n"
	"    words=(\"${rest[@]}\")\n"
	"}\n"
	"\n"
	"# The candidates where keywords and their values stand: from the word $2 on of the command $1.\n"
	"_sluice_keyword() {\n"
	"    local path=$1 at=$2 last=$((${#words[@]} - 1)) places\n"
	"    while ((at < last)); do\n"
	"        read -ra places <<< \"${_sluice_values[\"$path ${words[at]}\"]}\"\n"
	"        if ((last - at <= ${#places[@]})); then\n"
	"            _sluice_place \"${places[last - at - 1]}\"\n"
	"            return\n"
	"        fi\n"
	"        ((at += 1 + ${#places[@]}))\n"
	"    done\n"
	"    _sluice_list \"${_sluice_keywords[\"$path\"]}\"\n"
	"}\n"
	"\n"
	"# The candidates for the last of words, which are a command and what follows it.\n"
	"_sluice_candidates() {\n"
	"    local noun verb path at last=$((${#words[@]} - 1)) places\n"
	"    ((last == 1)) && { _sluice_list \"$_sluice_nouns help\"; return; }\n"
	"    noun=$(_sluice_full \"${words[1]}\" \"$_sluice_nouns help\")\n"
	"    if [[ $noun == help ]]; then\n"
	"        ((last == 2)) && _sluice_list \"$_sluice_nouns\"\n"
	"        ((last == 3)) && _sluice_list \"${_sluice_verbs[\"${words[2]}\"]}\"\n"
	"        return\n"
	"    fi\n"
	"    [[ $noun ]] || return\n"
	"    path=$noun at=2\n"
	"    if [[ ${_sluice_verbs[\"$noun\"]} ]]; then\n"
	"        ((last == 2)) && { _sluice_list \"${_sluice_verbs[\"$noun\"]} help\"; return; }\n"
	"        verb=$(_sluice_full \"${words[2]}\" \"${_sluice_verbs[\"$noun\"]}\")\n"
	"        [[ $verb ]] || return\n"
	"        path=\"$noun $verb\" at=3\n"
	"    fi\n"
	"    read -ra places <<< \"${_sluice_places[\"$path\"]}\"\n"
	"    if ((last - at < ${#places[@]})); then\n"
	"        _sluice_place \"${places[last - at]}\" \"${words[at]}\"\n"
	"    else\n"
	"        _sluice_keyword \"$path\" $((at + ${#places[@]}))\n"
	"    fi\n"
	"}\n"
	"\n"
	"_sluice() {\n"
	"    local words program current option='' candidates='' line\n"
	"    _sluice_words\n"
	"    current=${words[${#words[@]} - 1]}\n"
	"    _sluice_options\n"
	"    if [[ $option ]]; then\n"
	"        case $option in -s | -c | --socket | --config) candidates=$(_sluice_place @file) ;; esac\n"
	"    elif [[ $current == -* ]]; then\n"
	"        candidates=$(_sluice_list \"$_sluice_all_options\")\n"
	"    else\n"
	"        candidates=$(_sluice_candidates)\n"
	"    fi\n"
	"    COMPREPLY=()\n"
	"    while IFS= read -r line; do\n"
	"        [[ $line && $line == \"$current\"* ]] || continue\n"
	"        [[ $COMP_WORDBREAKS == *:* ]] && line=${line#\"${current%\"${current##*:}\"}\"}\n"
	"        COMPREPLY+=(\"$line\")\n"
	"    done <<< \"$candidates\"\n"
	"}\n"
	"complete -F _sluice sluice\n";
/* clang-format on */

/* What can be completed at a value's place; "-" for what cannot. */
static const char *place_of(const struct command *command, const struct command_param *param)
{
	const char *choices = command_choices(command, param);

	if (choices)
		return choices;
	switch (param->kind) {
	case VALUE_SERVICE:
		return "@service";
	case VALUE_BACKEND:
		return "@backend";
	case VALUE_FILE:
		return "@file";
	case VALUE_GENERATION:
		return "@generation";
	case VALUE_SHELL:
		return "bash";
	case VALUE_ANY:
	case VALUE_NEW_NAME:
	case VALUE_SERVICE_ADDRESS:
	case VALUE_ENDPOINT:
	case VALUE_ADDRESS:
	case VALUE_PREFIX:
	case VALUE_PORTS:
	case VALUE_CLIENT:
	case VALUE_FLAG:
	case VALUE_SECONDS:
	case VALUE_INTERVAL:
		break;
	}
	return "-";
}

static void print_nouns(FILE *out)
{
	size_t n;
	const struct command *table = command_table(&n);
	const char *last = "";

	(void)fputs("_sluice_nouns='", out);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(table[i].noun, last) != 0)
			(void)fprintf(out, "%s%s", i ? " " : "", table[i].noun);
		last = table[i].noun;
	}
	(void)fputs("'\ndeclare -gA _sluice_verbs=(", out);
	last = "";
	for (size_t i = 0; i < n; i++) {
		bool is_new = strcmp(table[i].noun, last) != 0;

		if (is_new && last[0])
			(void)fputc('\'', out);
		last = table[i].verb ? table[i].noun : "";
		if (is_new && table[i].verb)
			(void)fprintf(out, "\n\t[%s]='%s", table[i].noun, table[i].verb);
		else if (table[i].verb)
			(void)fprintf(out, " %s", table[i].verb);
	}
	(void)fputs("\n)\n", out);
}

/* The places of all commands: positionals, or keywords. */
static void print_places(FILE *out, const char *variable, bool is_keyword)
{
	size_t n;
	const struct command *table = command_table(&n);
	char name[64];

	(void)fprintf(out, "declare -gA %s=(\n", variable);
	for (size_t i = 0; i < n; i++) {
		const char *separator = "";

		(void)fprintf(out, "\t['%s']='", command_name(&table[i], name, sizeof(name)));
		for (size_t k = 0; k < table[i].n_params; k++) {
			const struct command_param *param = &table[i].param[k];

			if ((param->word != NULL) != is_keyword)
				continue;
			(void)fprintf(out, "%s%s", separator,
				      is_keyword ? param->word : place_of(&table[i], param));
			separator = " ";
		}
		(void)fputs("'\n", out);
	}
	(void)fputs(")\n", out);
}

/* What follows each keyword: nothing, a value, or a class and a value. */
static void print_values(FILE *out)
{
	size_t n;
	const struct command *table = command_table(&n);
	char name[64];

	(void)fputs("declare -gA _sluice_values=(\n", out);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < table[i].n_params; k++) {
			const struct command_param *param = &table[i].param[k];
			const struct method_param *source = command_method_param(&table[i], param);

			if (!param->word)
				continue;
			(void)fprintf(out, "\t['%s %s']='",
				      command_name(&table[i], name, sizeof(name)), param->word);
			if (source && source->type == METHOD_OBJECT) {
				for (size_t m = 0; m < source->n_members; m++)
					(void)fprintf(out, "%s%s", m ? "|" : "",
						      source->members[m].name);
				(void)fputc(' ', out);
			}
			if (param->kind != VALUE_FLAG)
				(void)fputs(place_of(&table[i], param), out);
			(void)fputs("'\n", out);
		}
	}
	(void)fputs(")\n", out);
}

static void print_options(FILE *out, const char *variable, bool is_valued_only)
{
	size_t n;
	const struct command_option *options = command_options(&n);

	(void)fprintf(out, "%s='", variable);
	for (size_t i = 0; i < n; i++) {
		if (is_valued_only && !options[i].value)
			continue;
		if (options[i].letter < 256)
			(void)fprintf(out, "-%c ", options[i].letter);
		(void)fprintf(out, "--%s ", options[i].name);
	}
	(void)fputs("'\n", out);
}

void complete_bash(FILE *out)
{
	(void)fputs(head, out);
	print_nouns(out);
	print_places(out, "_sluice_places", false);
	print_places(out, "_sluice_keywords", true);
	print_values(out);
	print_options(out, "_sluice_all_options", false);
	print_options(out, "_sluice_valued", true);
	(void)fputs(walker, out);
}
