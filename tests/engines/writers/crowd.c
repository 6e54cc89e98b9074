/* A crowd of threads that write without end, until one of them replaces the program. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { CROWD = 12 };

static void *append_forever(void *argument) {
    char name[32];
    snprintf(name, sizeof name, "t%d", (int)(long)argument);
    int fd = open(name, O_CREAT | O_WRONLY | O_APPEND, 0644);
    while (write(fd, "line\n", 5) == 5) continue;
    return NULL;
}

static void *replace_program(void *argument) {
    (void)argument;
    usleep(20000);
    execl("/bin/true", "true", (char *)NULL);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 2 || chdir(arguments[1])) return 2;
    pthread_t id;
    for (long i = 0; i < CROWD; i++) pthread_create(&id, NULL, append_forever, (void *)i);
    pthread_create(&id, NULL, replace_program, NULL);
    pthread_join(id, NULL);
    return 1;
}
