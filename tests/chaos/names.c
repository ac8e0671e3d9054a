/* Stands in for the name server: `redis.test` is what the file of NAMES_FILE says, "MILLISECONDS ADDRESS": that
   address, after that time. "-" for the address is a name server that does not answer. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int resolver(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    resolver *next = (resolver *)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *path = getenv("NAMES_FILE");
    char address[64] = "-";
    if (node && path && strcmp(node, "redis.test") == 0) {
        unsigned milliseconds = 0;
        FILE *file = fopen(path, "r");
        if (!file)
            return EAI_AGAIN;
        int fields = fscanf(file, "%u %63s", &milliseconds, address);
        fclose(file);
        usleep(milliseconds * 1000);
        if (fields != 2 || strcmp(address, "-") == 0)
            return EAI_AGAIN;
        node = address;
    }
    return next(node, service, hints, found);
}
