/* phi.h - how surprising a link's silence is: the phi accrual detector
 * (Hayashibara, Defago, Yared, Katayama, SRDS 2004). A pure function of when
 * something was heard.
 *
 * phi = -log10 of the chance that the next sign of life comes even later, if
 * intervals are as the last ones were: 1 is one chance in ten, 8 one in 10^8.
 * For acts that can be taken back, such as asking another replica; who is a
 * member is not decided by it. */
#ifndef CORRAL_PHI_H
#define CORRAL_PHI_H

#include <stdint.h>

enum { PHI_WINDOW = 1000, PHI_MOST = 300 };

/* All zeroes has heard nothing yet. About 4 KB. */
struct phi {
    int64_t last_us;
    uint32_t count, next; /* intervals held; where the next goes */
    double sum, squares;  /* of the intervals, in milliseconds */
    float interval_ms[PHI_WINDOW];
};

void phi_heard(struct phi *, int64_t now_us);
/* 0 .. PHI_MOST; 0 before there were two signs of life. */
double phi_value(const struct phi *, int64_t now_us);

#endif
