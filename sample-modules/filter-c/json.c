#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Deeper nesting is refused, so that no text can use up the stack.
#define DEPTH 64

typedef struct {
    const char *at;
    const char *end;
} cursor;

static bool value(cursor *c, int depth);

static void space(cursor *c) {
    while (c->at < c->end && strchr(" \t\r\n", *c->at) && *c->at)
        c->at++;
}

// Takes one character, if it comes next.
static bool take(cursor *c, char wanted) {
    space(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool string(cursor *c) {
    if (!take(c, '"'))
        return false;
    while (c->at < c->end) {
        char next = *c->at++;
        if (next == '"')
            return true;
        if (next == '\\' && c->at < c->end)
            c->at++;
    }
    return false;
}

// A number, true, false or null.
static bool word(cursor *c) {
    const char *start = c->at;
    while (c->at < c->end && *c->at && !strchr(" \t\r\n,:[]{}\"", *c->at))
        c->at++;
    size_t length = (size_t)(c->at - start);
    double ignored;
    return (length == 4 && (!memcmp(start, "true", 4) || !memcmp(start, "null", 4))) ||
           (length == 5 && !memcmp(start, "false", 5)) ||
           json_number((json_text){start, length}, &ignored);
}

// The rest of an object or a list, from behind its opening bracket.
static bool items(cursor *c, char closing, bool named, int depth) {
    if (take(c, closing))
        return true;
    do {
        if (named && !(string(c) && take(c, ':')))
            return false;
        if (!value(c, depth))
            return false;
    } while (take(c, ','));
    return take(c, closing);
}

static bool value(cursor *c, int depth) {
    space(c);
    if (depth == DEPTH || c->at == c->end)
        return false;
    if (take(c, '{'))
        return items(c, '}', true, depth + 1);
    if (take(c, '['))
        return items(c, ']', false, depth + 1);
    return *c->at == '"' ? string(c) : word(c);
}

bool json_valid(json_text text) {
    cursor c = {text.start, text.start + text.length};
    if (!value(&c, 0))
        return false;
    space(&c);
    return c.at == c.end;
}

bool json_member(json_text object, const char *name, json_text *found) {
    cursor c = {object.start, object.start + object.length};
    size_t length = strlen(name);
    if (!take(&c, '{'))
        return false;
    do {
        space(&c);
        const char *key = c.at + 1;
        if (!string(&c))
            return false;
        bool match = (size_t)(c.at - key) == length + 1 && !memcmp(key, name, length);
        if (!take(&c, ':'))
            return false;
        space(&c);
        const char *start = c.at;
        if (!value(&c, 0))
            return false;
        if (match) {
            *found = (json_text){start, (size_t)(c.at - start)};
            return true;
        }
    } while (take(&c, ','));
    return false;
}

bool json_number(json_text text, double *number) {
    // strtod needs an end and takes more than numbers: words, other bases.
    char copy[64];
    if (text.length == 0 || text.length >= sizeof copy)
        return false;
    memcpy(copy, text.start, text.length);
    copy[text.length] = 0;
    if (strspn(copy, "+-.0123456789eE") != text.length)
        return false;
    char *end;
    *number = strtod(copy, &end);
    return end == copy + text.length && isfinite(*number);
}
