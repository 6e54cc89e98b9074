/* Ways in which a static binary changes files: ./idioms NAME DIRECTORY. No runtime, no dynamic loader to hook. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(long result) {
    if (result < 0) {
        perror("idiom");
        exit(1);
    }
}

static void plain(void) {
    int fd = open("doc.tmp", O_CREAT | O_WRONLY | O_TRUNC, 0644);
    check(fd);
    check(write(fd, "static", 6));
    check(fsync(fd));
    check(close(fd));
    check(rename("doc.tmp", "doc"));
    check(link("doc", "twin"));
    check(truncate("doc", 3));
    check(mkdir("dir", 0755));
    check(symlink("doc", "dir/link"));
    check(chmod("doc", 0600));
}

static void stdio(void) {
    FILE *stream = fopen("log", "a");
    for (int i = 0; i < 2000; i++) fprintf(stream, "line %d\n", i);
    fflush(stream);
    fseek(stream, 0, SEEK_SET);
    fprintf(stream, "appended all the same\n");
    fclose(stream);
    stream = fopen("doc", "w+");
    fputs("0123456789", stream);
    fseek(stream, 4, SEEK_SET);
    fputs("xyz", stream);
    fclose(stream);
}

static void *worker(void *argument) {
    char name[32];
    snprintf(name, sizeof name, "t%d", (int)(long)argument % 3);
    for (int i = 0; i < 20; i++) {
        int fd = open(name, O_CREAT | O_WRONLY | O_APPEND, 0644);
        struct iovec parts[2] = {{"first ", 6}, {"second\n", 7}};
        if (writev(fd, parts, 2) != 13) exit(1);
        close(fd);
    }
    return NULL;
}

static void threads(void) {
    pthread_t ids[8];
    for (long i = 0; i < 8; i++) pthread_create(&ids[i], NULL, worker, (void *)i);
    for (int i = 0; i < 8; i++) pthread_join(ids[i], NULL);
}

static void spawned(void) {
    extern char **environ;
    char *arguments[] = {"sh", "-c", "echo spawned > spawned; ln spawned twin", NULL};
    pid_t pid;
    check(-posix_spawn(&pid, "/bin/sh", NULL, NULL, arguments, environ));
    waitpid(pid, NULL, 0);
    pid = vfork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "echo from vfork >> spawned", NULL);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
}

static void *replace_image(void *argument) {
    (void)argument;
    execl("/bin/sh", "sh", "-c", "echo by a thread that called exec > exec", NULL);
    return NULL;
}

static void exec_from_thread(void) {
    pthread_t id, others[3];
    for (long i = 0; i < 3; i++) pthread_create(&others[i], NULL, worker, (void *)i);
    pthread_create(&id, NULL, replace_image, NULL);
    pthread_join(id, NULL);
    exit(1);
}

int main(int count, char **arguments) {
    if (count != 3 || chdir(arguments[2])) return 2;
    struct { const char *name; void (*run)(void); } table[] = {
        {"plain", plain}, {"stdio", stdio}, {"threads", threads}, {"spawned", spawned},
        {"exec_from_thread", exec_from_thread}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(arguments[1], table[i].name)) {
            table[i].run();
            return 0;
        }
    return 2;
}
