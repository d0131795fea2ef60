/* float.c - INCRBYFLOAT.
 *
 * Numbers are read and written as redis does it: by the C library's long
 * double (so hexadecimal and "1e3" are numbers too), and written without an
 * exponent, with at most 17 digits after the point and no zeros at the end. */
#include "server/command/command.h"
#include "server/command/value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* More than the digits of the largest long double. */
enum { NUMBER_MAX = 5 * 1024 };

static bool read_number(struct slice text, long double *number)
{
    char copy[NUMBER_MAX], *end;

    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (isspace((unsigned char)copy[0]))
        return false;
    errno = 0;
    *number = strtold(copy, &end);
    if (end != copy + text.len || isnan(*number))
        return false;
    /* "inf" is a number; what overflows to it, or vanishes altogether, is none. */
    return errno != ERANGE || (!isinf(*number) && fpclassify(*number) != FP_ZERO);
}

static size_t write_number(char text[NUMBER_MAX], long double number)
{
    size_t len = (size_t)snprintf(text, NUMBER_MAX, "%.17Lf", number);

    while (text[len - 1] == '0') /* there is a point: it stops at it */
        len--;
    if (text[len - 1] == '.')
        len--;
    if (len == 2 && text[0] == '-' && text[1] == '0') {
        text[0] = '0';
        len = 1;
    }
    return len;
}

/* The sum, as text. 0: answered with what is wrong. */
static size_t add(struct exec *x, const struct store_edit *edit, struct slice word, char text[NUMBER_MAX])
{
    long double number = 0, amount;

    if ((edit_shows(edit) && !read_number(edit->value, &number)) || !read_number(word, &amount)) {
        reply_error(x, "ERR value is not a valid float");
        return 0;
    }
    number += amount;
    if (isnan(number) || isinf(number)) {
        reply_error(x, "ERR increment would produce NaN or Infinity");
        return 0;
    }
    return write_number(text, number);
}

void cmd_incrbyfloat(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    char text[NUMBER_MAX];
    struct store_value item = {0};
    enum store_status status;
    struct store_edit edit;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (refuse_filter(x, &edit))
        return;
    item.head = (struct slice){(uint8_t *)text, add(x, &edit, rq->argv[2], text)};
    if (item.head.len == 0) {
        store_edit_end(&edit);
        return;
    }
    if (edit_shows(&edit)) {
        item.flags = edit.flags;
        item.expires = edit.expires;
        item.key_binary = edit.key_binary;
    }
    status = store_edit_put(&edit, &item);
    store_edit_end(&edit);
    if (status == STORE_OK)
        reply_bulk(x, item.head);
    else
        reply_store_refused(x, status);
}
