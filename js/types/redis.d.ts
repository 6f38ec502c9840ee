/** The part of k6/x/redis that the scripts use: the module brings no typings of its own. */
declare module 'k6/x/redis' {
  export class Client {
    constructor(url: string);
    /** Number of fields of a hash, 0 where there is none. */
    hlen(key: string): Promise<number>;
    /** @param expiration in seconds, 0 = never */
    set(key: string, value: string, expiration: number): Promise<string>;
    /** Rejects with `redis: nil` where the answer is nil. */
    sendCommand(command: string, ...args: (string | number)[]): Promise<unknown>;
  }
}
