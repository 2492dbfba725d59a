/* base/json_memory.h - what jansson does where memory ends: the program ends, with exit code 5.
 *
 * Left to itself jansson 2.14 takes a string that it has no room for as "invalid token", drops what
 * it cannot append to one, and frees a string twice when there is no room for its object. A caller
 * could not tell that from a text that is wrong.
 */
#ifndef BASE_JSON_MEMORY_H
#define BASE_JSON_MEMORY_H

/* Before jansson is used; once a process. */
void json_memory_install(void);

#endif
