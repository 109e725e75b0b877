export interface User { id: number; name(): string }
export type Id = string | number;
export enum Color { Red, Green }
export abstract class Base extends X implements Y { abstract run(): void; private z = () => 1; constructor(private a: string) { super() } 
  @dec() method(x: number): string { return '' } }
export namespace NS { export function inner() {} }
declare module "foo" { function f(): void }
export const useThing = (x: number) => { return x }
export default function App() { return 1 }
function over(a: string): void;
function over(a: any) { }
export const LIMIT = 3, OTHER = 4;
declare function g(): void;
@Component({a: 1})
export class Cmp { @Input() x: string; }
export const C: FC = () => <div onClick={() => 1}>x</div>;
