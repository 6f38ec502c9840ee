/** The part of k6/x/redis that the scripts use: the module brings no typings of its own. */
declare module 'k6/x/redis' {
  export class Client {
    constructor(url: string);
    /** @returns how many of the keys were there */
    del(...keys: string[]): Promise<number>;
    /** @returns how many fields are new */
    hset(key: string, field: string, value: string): Promise<number>;
    /** Number of fields of a hash, 0 where there is none. */
    hlen(key: string): Promise<number>;
    /** @param expiration in seconds, 0 = never, which is the default */
    set(key: string, value: string, expiration?: number): Promise<string>;
    /** Rejects with `redis: nil` where the answer is nil. */
    sendCommand(command: string, ...args: (string | number)[]): Promise<unknown>;
  }
}
