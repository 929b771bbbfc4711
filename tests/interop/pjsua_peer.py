"""A pjsua2 phone for the tests: plays a tone, records what it hears, does what standard input says.

Prints a line of JSON per event: ``ready``, ``incoming``, ``state`` (with the call's state in PJSIP's words), ``media``,
``bye``, ``registration``, ``message``, ``sent`` (a MESSAGE was answered), ``typing`` (who writes, or has stopped),
``buddy`` (the presence of whom it watches), ``watched`` (a SUBSCRIBE came in), ``mwi`` (of waiting messages),
``transfer`` (a REFER came in), ``transferred`` (a NOTIFY about one that it has sent), ``replaced``, ``digit``.

Commands, a line each: ``call URI``, ``hangup``, ``hold``, ``resume``, ``update`` (UPDATE), ``info DIGITS`` (an INFO
for each), ``transfer URI``,
``connect`` (its two calls with each other), ``message URI TEXT``, ``typing URI yes|no``, ``watch URI``,
``unwatch URI``, ``presence online|away|busy|offline NOTE``, ``unregister``, ``answer CODE``, ``quit``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import sys
import time
from pathlib import Path

import pjsua2

TRANSPORTS = {'udp': pjsua2.PJSIP_TRANSPORT_UDP, 'tcp': pjsua2.PJSIP_TRANSPORT_TCP,
              'tls': pjsua2.PJSIP_TRANSPORT_TLS}


def tell(event: str, **details: object) -> None:
    """Print one event."""
    print(json.dumps({'event': event, **details}), flush=True)


class Call(pjsua2.Call):
    """A call that plays and records as soon as it has audio."""

    def __init__(self, phone: Phone, call_id: int = pjsua2.PJSUA_INVALID_ID) -> None:
        super().__init__(phone.account, call_id)
        self.phone = phone
        self.player: pjsua2.AudioMediaPlayer | None = None
        self.recorder: pjsua2.AudioMediaRecorder | None = None

    def onCallState(self, prm: pjsua2.OnCallStateParam) -> None:
        """PJSIP tells a new state."""
        info = self.getInfo()
        if info.state == pjsua2.PJSIP_INV_STATE_DISCONNECTED:
            # Closing the recorder completes the file.
            self.player = self.recorder = None
            self.phone.over.append(self)
        tell('state', state=info.stateText, code=info.lastStatusCode, call_id=info.callIdString)

    def onCallMediaState(self, prm: pjsua2.OnCallMediaStateParam) -> None:
        """PJSIP tells that the session changed."""
        info = self.getInfo()   # owns the list
        for index, media in enumerate(info.media):
            tell('media', status=media.status, direction=media.dir)
            if media.type != pjsua2.PJMEDIA_TYPE_AUDIO or media.status != pjsua2.PJSUA_CALL_MEDIA_ACTIVE:
                continue
            audio = self.getAudioMedia(index)
            if self.player is None:
                self.player = pjsua2.AudioMediaPlayer()
                self.player.createPlayer(self.phone.options.play)
                self.recorder = pjsua2.AudioMediaRecorder()
                self.recorder.createRecorder(self.phone.options.record)
            self.player.startTransmit(audio)
            audio.startTransmit(self.recorder)

    def onDtmfDigit(self, prm: pjsua2.OnDtmfDigitParam) -> None:
        """A digit has come."""
        tell('digit', digit=prm.digit, by_info=prm.method == pjsua2.PJSUA_DTMF_METHOD_SIP_INFO)

    def onCallTransferRequest(self, prm: pjsua2.OnCallTransferRequestParam) -> None:
        """A REFER: PJSIP calls whom it names by itself, unless the command line says no."""
        tell('transfer', to=prm.dstUri)
        if self.phone.options.transfer >= 300:
            prm.statusCode = self.phone.options.transfer
            return
        call = Call(self.phone)
        self.phone.calls.append(call)
        prm.newCall = call

    def onCallTransferStatus(self, prm: pjsua2.OnCallTransferStatusParam) -> None:
        """A NOTIFY about a REFER of ours."""
        tell('transferred', code=prm.statusCode, reason=prm.reason, final=prm.finalNotify)

    def onCallReplaced(self, prm: pjsua2.OnCallReplacedParam) -> None:
        """Another call took the place of this one."""
        call = Call(self.phone, prm.newCallId)
        self.phone.calls.append(call)
        prm.newCall = call
        tell('replaced')


class Buddy(pjsua2.Buddy):
    """Somebody whom the phone watches or writes to."""

    def onBuddyState(self) -> None:
        """Presence has come in, or has gone."""
        info = self.getInfo()
        tell('buddy', uri=info.uri, status=info.presStatus.status, activity=info.presStatus.activity,
             note=info.presStatus.note, text=info.presStatus.statusText, state=info.subStateName)


class Account(pjsua2.Account):
    """The one account of the phone."""

    def __init__(self, phone: Phone) -> None:
        super().__init__()
        self.phone = phone

    def onRegState(self, prm: pjsua2.OnRegStateParam) -> None:
        """A final response to a REGISTER."""
        tell('registration', code=prm.code, expires=prm.expiration)

    def onInstantMessage(self, prm: pjsua2.OnInstantMessageParam) -> None:
        """A MESSAGE."""
        tell('message', sender=prm.fromUri, text=prm.msgBody)

    def onInstantMessageStatus(self, prm: pjsua2.OnInstantMessageStatusParam) -> None:
        """A final response to a MESSAGE."""
        tell('sent', code=prm.code)

    def onTypingIndication(self, prm: pjsua2.OnTypingIndicationParam) -> None:
        """An isComposing document."""
        tell('typing', sender=prm.fromUri, active=prm.isTyping)

    def onMwiInfo(self, prm: pjsua2.OnMwiInfoParam) -> None:
        """A NOTIFY about waiting messages."""
        tell('mwi', state=prm.state, text=prm.rdata.wholeMsg.partition('\r\n\r\n')[2])

    def onIncomingSubscribe(self, prm: pjsua2.OnIncomingSubscribeParam) -> None:
        """Somebody wants to know our presence; PJSIP lets everybody."""
        tell('watched', sender=prm.fromUri)

    def onIncomingCall(self, prm: pjsua2.OnIncomingCallParam) -> None:
        """Answer as the command line says."""
        call = Call(self.phone, prm.callId)
        self.phone.calls.append(call)
        tell('incoming', request=prm.rdata.wholeMsg)
        for code in self.phone.options.answer:
            answer = pjsua2.CallOpParam()
            answer.statusCode = code
            call.answer(answer)


class Phone:
    """PJSIP's endpoint, driven by this script's own loop: no threads."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.calls: list[Call] = []
        self.over: list[Call] = []
        self.buddies: dict[str, Buddy] = {}
        self.endpoint = pjsua2.Endpoint()
        self.endpoint.libCreate()
        config = pjsua2.EpConfig()
        config.logConfig.level = config.logConfig.consoleLevel = options.log
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        self.endpoint.libInit(config)
        transport = pjsua2.TransportConfig()
        transport.port = options.port
        transport.boundAddress = transport.publicAddress = '127.0.0.1'
        if options.transport == 'tls':
            tls = transport.tlsConfig
            tls.certFile, tls.privKeyFile, tls.CaListFile = options.cert, options.key, options.ca
            tls.verifyServer = tls.verifyClient = bool(options.ca)
        transport_id = self.endpoint.transportCreate(TRANSPORTS[options.transport], transport)
        self.endpoint.libStart()
        self.endpoint.audDevManager().setNullDev()
        for codec in self.endpoint.codecEnum2():
            # Only codecs that leave a pure tone a pure tone.
            self.endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith('PCM') else 0)
        account = pjsua2.AccountConfig()
        named = '' if options.transport == 'udp' else f';transport={options.transport}'
        account.idUri = f'sip:{options.user}@127.0.0.1:{options.port}{named}'
        account.sipConfig.transportId = transport_id
        if options.registrar:
            account.idUri = f'sip:{options.user}@{options.domain}'
            account.regConfig.registrarUri = options.registrar
            account.regConfig.timeoutSec = options.expires
            account.sipConfig.authCreds.append(
                pjsua2.AuthCredInfo('digest', '*', options.user, 0, options.password))
        media = account.mediaConfig.transportConfig
        media.port = options.rtp
        media.boundAddress = media.publicAddress = '127.0.0.1'
        if options.timer:
            account.callConfig.timerUse = 2
            account.callConfig.timerSessExpiresSec = options.timer
        account.callConfig.prackUse = options.prack
        account.presConfig.publishEnabled = options.publish
        account.mwiConfig.enabled = options.mwi
        account.mwiConfig.expirationSec = options.mwi_expires
        if options.proxy:
            account.sipConfig.proxies.append(options.proxy)
        self.account = Account(self)
        self.account.create(account)
        tell('ready')

    def obey(self, line: str) -> bool:
        """Do what a command says; False at the last one."""
        verb, _, argument = line.strip().partition(' ')
        parameters = pjsua2.CallOpParam(True)
        if verb == 'call':
            call = Call(self)
            self.calls.append(call)
            call.makeCall(argument, parameters)
        elif verb == 'hangup':
            self.calls[-1].hangup(pjsua2.CallOpParam())
        elif verb == 'message':
            uri, _, text = argument.partition(' ')
            message = pjsua2.SendInstantMessageParam()
            message.content = text
            self.buddy(uri).sendInstantMessage(message)
        elif verb == 'typing':
            uri, _, text = argument.partition(' ')
            typing = pjsua2.SendTypingIndicationParam()
            typing.isTyping = text == 'yes'
            self.buddy(uri).sendTypingIndication(typing)
        elif verb == 'watch':
            self.buddy(argument).subscribePresence(True)
        elif verb == 'unwatch':
            self.buddy(argument).subscribePresence(False)
        elif verb == 'presence':
            self.show(*argument.partition(' ')[::2])
        elif verb == 'answer':
            parameters.statusCode = int(argument)
            self.calls[-1].answer(parameters)
        elif verb == 'unregister':
            self.account.setRegistration(False)
        elif verb == 'hold':
            self.calls[-1].setHold(pjsua2.CallOpParam())
        elif verb == 'transfer':
            self.calls[0].xfer(argument, parameters)
        elif verb == 'connect':
            self.calls[0].xferReplaces(self.calls[1], parameters)
        elif verb == 'resume':
            parameters.opt.flag = pjsua2.PJSUA_CALL_UNHOLD
            self.calls[-1].reinvite(parameters)
        elif verb == 'update':
            self.calls[-1].update(parameters)
        elif verb == 'info':
            digits = pjsua2.CallSendDtmfParam()
            digits.method = pjsua2.PJSUA_DTMF_METHOD_SIP_INFO
            digits.digits = argument
            self.calls[-1].sendDtmf(digits)
        return verb != 'quit'

    def buddy(self, uri: str) -> Buddy:
        """That of this URI."""
        if uri not in self.buddies:
            config = pjsua2.BuddyConfig()
            config.uri = uri
            self.buddies[uri] = Buddy()
            self.buddies[uri].create(self.account, config)
        return self.buddies[uri]

    def show(self, word: str, note: str) -> None:
        """Change the phone's own presence."""
        presence = pjsua2.PresenceStatus()
        presence.status = pjsua2.PJSUA_BUDDY_STATUS_OFFLINE if word == 'offline' else pjsua2.PJSUA_BUDDY_STATUS_ONLINE
        presence.activity = {'away': pjsua2.PJRPID_ACTIVITY_AWAY, 'busy': pjsua2.PJRPID_ACTIVITY_BUSY}.get(
            word, pjsua2.PJRPID_ACTIVITY_UNKNOWN)
        presence.note = note
        self.account.setOnlineStatus(presence)

    def run(self, seconds: float) -> None:
        """Serve events and commands until ``quit``, the end of standard input or of the time."""
        end = time.monotonic() + seconds
        pending = b''
        going = True
        while going and time.monotonic() < end:
            self.endpoint.libHandleEvents(10)
            while self.over:
                self.calls.remove(self.over.pop())
            if not select.select([0], [], [], 0)[0]:
                continue
            data = os.read(0, 4096)
            going = bool(data)
            *lines, pending = (pending + data).split(b'\n')
            for line in lines:
                try:
                    going = self.obey(line.decode()) and going
                except pjsua2.Error as error:
                    tell('error', command=line.decode(), reason=error.reason)

    def close(self) -> None:
        """End what is left, give PJSIP a moment to say so, and take it down in the order that it demands."""
        self.endpoint.hangupAllCalls()
        end = time.monotonic() + 0.5
        while self.calls and time.monotonic() < end:
            self.endpoint.libHandleEvents(20)
            while self.over:
                self.calls.remove(self.over.pop())
        self.calls.clear()
        self.buddies.clear()
        self.account.shutdown()
        del self.account
        self.endpoint.libDestroy()
        tell('bye')


def main() -> None:
    """Parse the command line and run the phone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--port', type=int, required=True)
    parser.add_argument('--transport', choices=sorted(TRANSPORTS), default='udp')
    parser.add_argument('--cert', default='', help='certificate for TLS, with --key; --ca demands one of the peer')
    parser.add_argument('--key', default='')
    parser.add_argument('--ca', default='')
    parser.add_argument('--rtp', type=int, required=True)
    parser.add_argument('--play', type=Path, required=True, help='WAV to play')
    parser.add_argument('--record', type=Path, required=True, help='WAV to write')
    parser.add_argument('--answer', default='180,200', help='codes to answer a call with')
    parser.add_argument('--user', default='phone')
    parser.add_argument('--timer', type=int, default=0, help='session timer, seconds')
    parser.add_argument('--prack', type=int, default=0, help="PJSIP's prackUse")
    parser.add_argument('--registrar', default='', help='URI to register at, with --password')
    parser.add_argument('--password', default='')
    parser.add_argument('--domain', default='127.0.0.1', help='of the address of record')
    parser.add_argument('--expires', type=int, default=300)
    parser.add_argument('--transfer', type=int, default=200, help='what to say to a REFER')
    parser.add_argument('--publish', action='store_true', help='PUBLISH the presence')
    parser.add_argument('--mwi', action='store_true', help='subscribe to waiting messages once registered')
    parser.add_argument('--mwi-expires', type=int, default=300)
    parser.add_argument('--proxy', default='', help='URI that everything of the account goes through')
    parser.add_argument('--seconds', type=float, default=40)
    parser.add_argument('--log', type=int, default=0)
    options = parser.parse_args()
    options.answer = [int(code) for code in options.answer.split(',') if code]
    options.play, options.record = str(options.play), str(options.record)
    phone = Phone(options)
    with contextlib.suppress(KeyboardInterrupt):
        phone.run(options.seconds)
    phone.close()
    sys.stdout.flush()
    # PJSIP's own destructors and Python's at interpreter exit do not get along.
    os._exit(0)


if __name__ == '__main__':
    main()
