// Passes a message on to `output1` when its temperature is over a threshold.
//
// The message itself is sent on: its body stays in the host and is not even read when the sender
// put the temperature into a property. Setting: `threshold` (25).

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "module.h"

typedef edge_module_types_borrow_message_t message_t;
typedef edge_module_types_failure_t failure_t;

// Fails for good, with a reason and what it is about. Copies both: the bindings free the copy.
static bool reject(failure_t *failure, const char *reason, json_text about) {
    size_t length = strlen(reason);
    uint8_t *text = malloc(length + about.length);
    if (!text)
        abort();
    memcpy(text, reason, length);
    memcpy(text + length, about.start, about.length);
    failure->tag = EDGE_MODULE_TYPES_FAILURE_REJECT;
    failure->val.reject = (module_string_t){text, length + about.length};
    return false;
}

// The setting, read when the first message comes.
static bool get_threshold(double *threshold, failure_t *failure) {
    static bool known = false;
    static double value = 25;
    if (!known) {
        module_string_t key;
        module_option_string_t text;
        wasi_config_store_error_t error;
        module_string_set(&key, "threshold");
        if (!wasi_config_store_get(&key, &text, &error)) {
            wasi_config_store_error_free(&error);
            return reject(failure, "read setting threshold", (json_text){"", 0});
        }
        json_text number = {(const char *)text.val.ptr, text.val.len};
        bool good = !text.is_some || json_number(number, &value) ||
                    reject(failure, "setting threshold is no number: ", number);
        module_option_string_free(&text);
        if (!good)
            return false;
        known = true;
    }
    *threshold = value;
    return true;
}

// Where the temperature stands in a JSON body: `machine.temperature` or `temperature`.
static bool find_temperature(json_text body, json_text *found) {
    json_text machine;
    return json_valid(body) &&
           ((json_member(body, "machine", &machine) && json_member(machine, "temperature", found)) ||
            json_member(body, "temperature", found)) &&
           strncmp(found->start, "null", 4) != 0;
}

// Sends the message on if `text` is a number over the threshold.
static bool judge(message_t message, json_text text, failure_t *failure) {
    double threshold, temperature;
    if (!json_number(text, &temperature))
        return reject(failure, "temperature is no number: ", text);
    if (!get_threshold(&threshold, failure))
        return false;
    if (temperature <= threshold)
        return true;

    module_string_t output;
    edge_module_send_event_send_error_t error;
    module_string_set(&output, "output1");
    if (edge_module_send_event_send(&output, message, &error))
        return true;
    if (error != EDGE_MODULE_SEND_EVENT_SEND_ERROR_FULL)
        return reject(failure, "send to output1: not allowed", (json_text){"", 0});
    failure->tag = EDGE_MODULE_TYPES_FAILURE_RETRY; // there will be room again
    failure->val.retry.is_some = false;
    return false;
}

bool exports_edge_module_input_handler_handle(module_string_t *input, message_t message, failure_t *failure) {
    module_string_free(input);
    bool done = true;

    module_string_t name, property;
    module_string_set(&name, "temperature");
    if (edge_module_types_method_message_property(message, &name, &property)) {
        done = judge(message, (json_text){(const char *)property.ptr, property.len}, failure);
        module_string_free(&property);
        return done;
    }

    module_list_u8_t body;
    edge_module_types_method_message_body(message, &body);
    json_text found;
    if (find_temperature((json_text){(const char *)body.ptr, body.len}, &found)) {
        done = judge(message, found, failure);
    } else {
        module_string_t context, text;
        module_string_set(&context, "filter");
        module_string_set(&text, "dropped: no temperature in it");
        wasi_logging_logging_log(WASI_LOGGING_LOGGING_LEVEL_DEBUG, &context, &text);
    }
    module_list_u8_free(&body);
    return done;
}
