export { WebSocket } from "ws"
