// Finds values in JSON text without copying or allocating. Part of the sample; take what you need.

#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>

// A piece of a text that belongs to somebody else.
typedef struct {
    const char *start;
    size_t length;
} json_text;

// Whether the whole text is one JSON value. Numbers and words are not looked at closely.
bool json_valid(json_text text);

// The value of a member of an object, as JSON text: `25.5`, `"hot"`, `{"a":1}`. False if the text
// is no object or has no such member.
bool json_member(json_text object, const char *name, json_text *value);

// A text as a number: JSON's or a property's. False if it is none, or not finite.
bool json_number(json_text text, double *number);

#endif
