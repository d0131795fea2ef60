/* fuzz_view.c - what decodes as a view is one, and encodes to the same bytes. */
#include <stdio.h>
#include <stdlib.h>

#include "cluster/describe.h"

#define HOLDS(ok) ((ok) ? (void)0 : (fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #ok), abort()))

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

/* The next epoch: the first member has failed, and the others have handed over what they could. */
static void change(const struct view *view)
{
    struct view_member *members = calloc(view->member_count, sizeof *members);
    uint16_t *released = calloc(view->rules.granules, sizeof *released);
    struct view_change next = {members, view->member_count, released, 0};
    const struct view *changed;
    enum view_fault fault;

    memcpy(members, view->members, view->member_count * sizeof *members);
    members[0].state = VIEW_FAILED;
    for (unsigned g = 0; g < view->rules.granules; g++)
        if (view->holder[g] != view->owner[g])
            released[next.released_count++] = (uint16_t)g;
    changed = view_next(view, &next, &fault);
    HOLDS(changed != NULL);
    view_check(changed);
    view_unpin(&changed);
    free(members);
    free(released);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    const struct description *description;
    const struct view *view;
    enum view_fault fault;

    if (len > 2048)
        return 0;
    view = view_decode((struct slice){in, len}, &fault);
    HOLDS((view != NULL) == (fault == VIEW_OK));
    if (view == NULL)
        return 0;
    view_check(view);
    HOLDS(slice_equals(view->encoded, (struct slice){in, len}));
    description = describe_new(view, 0);
    HOLDS(description != NULL);
    describe_free(&description);
    if (view->member_count > 0)
        change(view);
    view_unpin(&view);
    return 0;
}
