#include "base/loopback.h"

#include <arpa/inet.h>
#include <string.h>

bool host_is_loopback(const char *host)
{
    struct in_addr four;

    if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, host, &four) == 1 && (ntohl(four.s_addr) >> 24) == 127;
}
